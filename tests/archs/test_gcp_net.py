from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twostagealign.archs import GCPNet, from_released
from twostagealign.archs.conv_lstm import ConvLSTMCell
from twostagealign.isp import demosaic

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def numbers() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(DATA / "gcpnet_nf8.npz").items()}


@pytest.fixture
def net(numbers: dict[str, Tensor]) -> GCPNet:
    weights = {name.removeprefix("state/"): value for name, value in numbers.items() if name.startswith("state/")}
    net = GCPNet(nf=int(numbers["nf"]), groups=int(numbers["groups"]))
    net.load_state_dict(from_released(weights)[1])
    return net


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_equals_reference_numbers(net: GCPNet, numbers: dict[str, Tensor], training: bool) -> None:
    expected = numbers["output"]
    output = net.train(training)(numbers["lq"], numbers["noise_map"])
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_gradient_is_that_of_finite_differences(net: GCPNet, numbers: dict[str, Tensor]) -> None:
    """One direction in the space of all weights, in double precision."""
    net = net.double()
    lq, noise_map = (numbers[name][..., :8, :8].double() for name in ("lq", "noise_map"))
    net(lq, noise_map).square().sum().backward()
    torch.manual_seed(0)
    direction = [torch.randn_like(parameter) * parameter.abs().mean() for parameter in net.parameters()]
    slope = sum((parameter.grad * step).sum() for parameter, step in zip(net.parameters(), direction, strict=True))
    values = []
    with torch.no_grad():
        for size in (-1e-6, 2e-6):
            for parameter, step in zip(net.parameters(), direction, strict=True):
                parameter.add_(step, alpha=size)
            values.append(net(lq, noise_map).square().sum())
    assert ((values[1] - values[0]) / 2e-6).item() == pytest.approx(slope.item(), rel=1e-4)


@torch.no_grad()
def test_motion_remembers_the_frames_before(net: GCPNet) -> None:
    features, guide = torch.rand(2, 1, 5, 8, 8, 8)
    before = net.alignment(features, guide)
    guide[:, 3] += 1
    changed = (net.alignment(features, guide) - before).abs().amax(dim=(0, 2, 3, 4)) > 1e-4
    assert changed.tolist() == [False, False, False, True, True]


def test_cell_is_the_published_one() -> None:
    torch.manual_seed(0)
    cell = ConvLSTMCell(3, 2)
    x, hidden, state = torch.randn(1, 3, 4, 4), torch.randn(1, 2, 4, 4), torch.randn(1, 2, 4, 4)
    i, f, o, g = cell.gates(torch.cat((x, hidden), dim=1)).chunk(4, dim=1)
    after = f.sigmoid() * state + i.sigmoid() * g.tanh()
    found = cell(x, (hidden, state))
    torch.testing.assert_close(found, (o.sigmoid() * after.tanh(), after))


@torch.no_grad()
def test_residual_network_starts_with_the_demosaicked_frame() -> None:
    net = GCPNet(nf=8, frames=3, residual=True, initialisation="delta_orthogonal")
    lq = torch.rand(2, 3, 4, 8, 12)
    torch.testing.assert_close(net(lq, lq), demosaic(lq[:, 1]))
    nn.init.ones_(net.reconstruction.decoder1[-1].weight)
    assert not torch.allclose(net(lq, lq), demosaic(lq[:, 1]))


@torch.no_grad()
def test_delta_orthogonal_training_starts_without_modulation() -> None:
    net = GCPNet(nf=8, frames=1, initialisation="delta_orthogonal")
    images = torch.rand(1, 8, 8, 8)
    torch.testing.assert_close(net.features(images, net.green(images)[1]), net.features(images))


@torch.no_grad()
def test_delta_orthogonal_training_starts_with_the_reference_frame() -> None:
    """Neighbours that are not aligned yet would hide it."""
    net = GCPNet(nf=8, frames=3, initialisation="delta_orthogonal")
    lq = torch.rand(1, 3, 4, 8, 8)
    before = net(lq, lq)
    lq[:, [0, 2]] = 0
    torch.testing.assert_close(net(lq, lq), before)
    lq[:, 1, :, 4, 4] += 1
    assert not torch.allclose(net(lq, lq), before)
