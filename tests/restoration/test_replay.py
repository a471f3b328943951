"""Recorded calls of a network are compared before they are trusted. Stand-ins take the place of CUDA graphs."""

import weakref
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from twostagealign.restoration.replay import KEPT, Recorder, Replays

Network = Callable[[Tensor, Tensor], Tensor]


class Doubling(nn.Module):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((3,), 2.0), requires_grad=False)
        self.calls = 0

    def forward(self, lq: Tensor, noise_map: Tensor) -> Tensor:
        self.calls += 1
        return self.factor[0] * lq + noise_map


def copying(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Network:
    """A recorder that works: its replays read the weights as they were in memory, without a call."""
    weights = network.factor.data
    return lambda lq, noise_map: weights[0] * lq + noise_map


def stale(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Network:
    """Replays return what is in memory: nothing was recorded."""
    return lambda lq, noise_map: torch.zeros_like(lq)


def invalid(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Network:
    raise RuntimeError("operation not permitted when stream is capturing\nhint")


def out_of_memory(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Network:
    raise torch.OutOfMemoryError("CUDA out of memory")


def ends_in_replay(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Network:
    return lambda lq, noise_map: invalid(network, lq, noise_map)


def tiles(batch: int = 2, seed: int = 0) -> Tensor:
    return torch.rand(2, batch, 3, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def check(replays: Replays, network: nn.Module, planes: Tensor) -> None:
    torch.testing.assert_close(replays(network, *planes), network.factor[0] * planes[0] + planes[1])


def test_from_the_third_call_on_the_network_is_not_called() -> None:
    network, replays = Doubling(), Replays(lambda: copying)
    for seed in range(5):
        check(replays, network, tiles(seed=seed))
    assert network.calls == 2
    check(replays, network, tiles(batch=1))  # another shape
    assert network.calls == 3


@pytest.mark.parametrize(
    ("recorder", "reason"),
    [
        (stale, "a replay gives another result"),
        (invalid, "RuntimeError: operation not permitted when stream is capturing hint"),
        (ends_in_replay, "RuntimeError: operation not permitted when stream is capturing hint"),
        (out_of_memory, "OutOfMemoryError: CUDA out of memory"),
    ],
)
def test_a_network_that_cannot_be_recorded_is_called(recorder: Recorder, reason: str, caplog) -> None:
    network, replays = Doubling(), Replays(lambda: recorder)
    for batch in (1, 2):
        for seed in range(4):
            check(replays, network, tiles(batch, seed))
    assert network.calls == 8
    assert caplog.messages == [f"CUDA graphs are not used for this network: {reason}"]


def test_rounding_and_nan_in_equal_places_are_no_disagreement(caplog) -> None:
    def rounding(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Network:
        return lambda lq, noise_map: copying(network, lq, noise_map)(lq, noise_map) * (1 + 1e-6)

    network, replays, planes = Doubling(), Replays(lambda: rounding), tiles()
    planes[0, 0, 0, 0, 0, :2] = torch.tensor([torch.nan, torch.inf])
    for _ in range(3):
        replays(network, *planes)
    assert network.calls == 2
    assert not caplog.messages


@pytest.mark.parametrize("change", [nn.Module.half, lambda network: setattr(network.factor, "data", torch.ones(3))])
def test_other_weights_are_recorded_again(change: Callable[[nn.Module], object]) -> None:
    network, replays = Doubling(), Replays(lambda: copying)
    for _ in range(3):
        check(replays, network, tiles())
    change(network)
    planes = tiles().to(network.factor.dtype)
    for _ in range(3):
        check(replays, network, planes)
    assert network.calls == 4


def test_old_recordings_are_dropped() -> None:
    kept = []

    def weak(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Network:
        replay = copying(network, lq, noise_map)
        kept.append(weakref.ref(replay))
        return replay

    network, replays = Doubling(), Replays(lambda: weak)
    for batch in range(1, KEPT + 3):
        for _ in range(3):
            check(replays, network, tiles(batch))
    assert sum(replay() is not None for replay in kept) == KEPT
    replays.clear()
    assert not any(replay() for replay in kept)
    check(replays, network, tiles(1))


def test_what_may_share_memory_is_dropped_together() -> None:
    made = []
    replays, network = Replays(lambda: made.append(1) or copying), Doubling()
    for _ in range(2):
        for batch in (1, 2):
            for _ in range(3):
                check(replays, network, tiles(batch))
        replays.clear()
    assert len(made) == 2


def test_switched_off() -> None:
    network, replays = Doubling(), Replays(lambda: copying)
    replays.enabled = False
    for _ in range(4):
        check(replays, network, tiles())
    assert network.calls == 4
