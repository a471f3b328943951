import pytest
import torch
from torch import Tensor, nn

from twostagealign.archs import SingleFrameNet, TwoStageNet
from twostagealign.restoration.tile_network import record_calls, restore_tiles, tiles_at_once
from twostagealign.runtime.errors import UserError

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


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Free memory of a stand-in of a GPU, bytes; memory that PyTorch has reserved, and that it uses."""
    numbers = [80e9, 0, 0]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (int(numbers[0]), int(80e9)))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: int(numbers[1]))
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: int(numbers[2]))
    return numbers


class WideNet(nn.Module):
    """As wide as the paper's, and quickly made."""

    nf = 64

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))


@pytest.mark.parametrize(("gigabytes", "expected"), [(80, 101), (1, 1), (0.001, 1)])
def test_a_gpu_takes_what_its_memory_holds(free: list[float], gigabytes: float, expected: int) -> None:
    free[0] = gigabytes * 1e9
    network = WideNet()
    record_calls(network, False)
    assert tiles_at_once(network, 5, 160, 160, CUDA) == expected
    if expected > 1:
        half = tiles_at_once(network.to(torch.bfloat16), 5, 160, 160, CUDA)
        assert half == pytest.approx(2 * expected, abs=1)
        recorded = tiles_at_once(WideNet(), 5, 160, 160, CUDA)  # with memory of its own
        assert recorded == expected // 2


def test_a_gpu_takes_as_many_as_before(free: list[float]) -> None:
    """Other tiles at once would have to be recorded again. What PyTorch has reserved is free."""
    network, another = WideNet(), WideNet()
    first = tiles_at_once(network, 5, 160, 160, CUDA)
    free[:] = [30e9, 55e9, 5e9]
    assert tiles_at_once(network, 5, 160, 160, CUDA) == first
    assert tiles_at_once(another, 5, 160, 160, CUDA) == first


class LimitedNet(nn.Module):
    """Repeats the first plane. Its memory holds so many tiles."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.most = most
        self.batches: list[int] = []

    def forward(self, lq: Tensor, noise_map: Tensor) -> Tensor:
        self.batches.append(len(lq))
        if len(lq) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return lq[:, 0, :3].repeat_interleave(2, -1).repeat_interleave(2, -2)


def test_where_memory_runs_out_half_the_tiles_are_restored_at_a_time(caplog: pytest.LogCaptureFixture) -> None:
    network, planes = LimitedNet(3), tiles(7)
    expected = LimitedNet(7)(*planes)
    for _ in range(2):
        assert torch.equal(restore_tiles(network, *planes), expected)
    assert network.batches == [7, *[3, 3, 1] * 2]  # the limit is remembered
    assert caplog.messages == ["the memory of the GPU does not hold 7 tiles: going on with 3 at a time"]
    caplog.clear()
    larger = tiles(4, side=28)  # which need more memory
    network.most = 1
    assert len(restore_tiles(network, *larger)) == 4
    assert network.batches[7:] == [4, 2, 1, 1, 1, 1]
    assert len(caplog.messages) == 2


def test_memory_that_runs_out_for_a_moment(caplog: pytest.LogCaptureFixture) -> None:
    """As when another program has just started: what is left fits."""
    network, planes = LimitedNet(1), tiles(2)
    restore_tiles(network, *planes)
    network.most = 2
    assert torch.equal(restore_tiles(network, *planes), LimitedNet(2)(*planes))
    assert len(caplog.messages) == 1


def test_too_little_memory_for_one_tile_is_one_line() -> None:
    message = "the memory of the GPU does not hold a tile of 24x24 raw pixels; give a smaller --group or --patch, or --"
    with pytest.raises(UserError, match=message):
        restore_tiles(LimitedNet(0), *tiles(4))


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
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    for count in range(1, 5):
        restore_tiles(network, lq, noise_map)
        assert len(calls) == count
