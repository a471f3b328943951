"""The direct way that speed is measured against gives the package's results."""

from pathlib import Path

import pytest
import torch

from twostagealign.data.burst import Burst, RawFrame
from twostagealign.isp import protocol_camera
from twostagealign.matching import hard_match
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import Tiling


@pytest.fixture
def baselines(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "scripts")
    import baselines

    return baselines


def random_planes(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("frames", "residual"), [(1, False), (3, True), (4, False), (5, True)])
def test_network(baselines, make_restorer, frames, residual) -> None:
    network = make_restorer(nf=16, groups=4).network
    network.residual = residual
    lq = random_planes(2, frames, 4, 16, 24)
    with torch.inference_mode():
        ours = network(lq, 0.1 * lq)
        direct = baselines.DirectNetwork(network.state_dict(), groups=4, residual=residual)(lq, 0.1 * lq)
    assert ours.std() > 0.1
    torch.testing.assert_close(direct, ours, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [2, 1000])  # with two, most distances are equal to others
@pytest.mark.parametrize(("size", "radius"), [(5, 4), (4, 3)])
def test_matching(baselines, levels, size, radius) -> None:
    maps = (levels * random_planes(4, 3, 14, 17)).floor()
    origins = torch.cartesian_prod(torch.arange(0, 15 - size), torch.tensor([0, 7, 17 - size]))
    ours = hard_match(maps[None], origins[None], size, radius)[0]
    assert torch.equal(baselines.match_directly(maps, origins, size, radius), ours)


def test_frame(baselines, make_restorer) -> None:
    restorer = make_restorer()
    lq = random_planes(5, 4, 37, 50)
    burst = Burst([RawFrame(planes, 0.1 * planes) for planes in lq], protocol_camera())
    ours = restore_frame(restorer, burst, Tiling(patch=16, halo=4, batch=3))
    assert ours.shifts.any()
    network = baselines.DirectNetwork(restorer.network.state_dict(), groups=4)
    direct = baselines.restore_directly(network, restorer.features, lq, 0.1 * lq, 16, 4, 16)
    torch.testing.assert_close(direct, ours.image, rtol=1e-4, atol=1e-4)
