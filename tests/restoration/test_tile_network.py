import pytest
import torch

from twostagealign.archs import SingleFrameNet, TwoStageNet
from twostagealign.restoration import tile_network
from twostagealign.restoration.tile_network import restore_tiles, tiles_at_once

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def tiles(batch: int, seed: int = 0, side: int = 24) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    lq, noise_map = torch.rand(2, batch, 3, 4, side, side, generator=generator)
    return lq, 0.1 * noise_map


@pytest.mark.parametrize(
    ("nf", "side", "expected"),
    [(64, 72, 5), (64, 160, 1), (64, 2000, 1), (16, 160, 4)],
)
def test_a_processor_takes_few_tiles_at_once(nf: int, side: int, expected: int) -> None:
    for network in (TwoStageNet(nf=nf), SingleFrameNet(nf=nf)):
        assert tiles_at_once(network, 5, side, side, CPU) == expected


@pytest.mark.parametrize(("free", "expected"), [(80e9, 101), (1e9, 1), (1e6, 1)])
def test_a_gpu_takes_what_its_memory_holds(monkeypatch: pytest.MonkeyPatch, free: float, expected: int) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(free), int(80e9)))
    network = TwoStageNet(nf=64)
    assert tiles_at_once(network, 5, 160, 160, CUDA) == expected
    if expected > 1:
        half = tiles_at_once(network.to(torch.bfloat16), 5, 160, 160, CUDA)
        assert half == pytest.approx(2 * expected, abs=1)


def test_on_a_processor_the_network_is_called_as_it_is() -> None:
    network, (lq, noise_map) = TwoStageNet(nf=8).eval(), tiles(2)
    output = restore_tiles(network, lq, noise_map)
    with torch.no_grad():
        assert torch.equal(output, network(lq, noise_map))


@needs_cuda
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replayed_work_equals_the_network(residual: bool, dtype: torch.dtype) -> None:
    network = TwoStageNet(nf=8, residual=residual, initialisation="delta_orthogonal").eval()
    network.to(CUDA, dtype).requires_grad_(False)
    for seed in range(4):  # called, recorded, replayed
        for batch in (1, 3):
            lq, noise_map = (planes.to(CUDA, dtype) for planes in tiles(batch, seed))
            with torch.no_grad():
                expected = network(lq, noise_map)
            torch.testing.assert_close(restore_tiles(network, lq, noise_map), expected)


@needs_cuda
def test_a_result_stays_when_other_tiles_are_replayed() -> None:
    network = TwoStageNet(nf=8).eval().to(CUDA).requires_grad_(False)
    inputs = [[planes.to(CUDA) for planes in tiles(1, seed)] for seed in range(4)]
    outputs = [restore_tiles(network, *planes) for planes in inputs]
    assert all(not torch.equal(outputs[i], outputs[i - 1]) for i in range(1, 4))
    again = [restore_tiles(network, *planes) for planes in inputs]
    for output, repeated in zip(outputs, again, strict=True):
        torch.testing.assert_close(output, repeated)


@needs_cuda
def test_a_network_in_training_is_not_recorded() -> None:
    network = TwoStageNet(nf=8).eval().to(CUDA)
    lq, noise_map = (planes.to(CUDA) for planes in tiles(1))
    for scale in (1, 0):
        with torch.no_grad():
            network.reconstruction.decoder1[-1].weight.mul_(scale)
        outputs = [restore_tiles(network, lq, noise_map) for _ in range(3)]
        assert all(output.any() == bool(scale) for output in outputs)
    assert network not in tile_network._recordings
