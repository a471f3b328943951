"""Restoration of a frame from end to end against the direct way at the same settings, and at the fast ones."""

from collections.abc import Callable, Iterator

from torch import Tensor

from twostagealign.benchmarks.measurement import Measurement, race
from twostagealign.benchmarks.subjects import FRAME_720P, burst, tiny_restorer, wide_restorer
from twostagealign.engine.tiling import FAST, Tiling, restore_frame
from twostagealign.models import TwoStageRestorer

STRIPE = (64, 640)
"""One of the six rows of tiles of a 720p frame, raw pixels."""


def benchmark_frame(
    direct: Callable[[TwoStageRestorer, Tensor, Tensor], Tensor], whole: bool = False
) -> Iterator[Measurement]:
    """Compare restoration of a burst of five frames.

    Args:
        direct: restores a frame the direct way; takes restorer, raw planes and noise maps.
        whole: restore whole 720p frames with the wide network, too, once each, instead of a row of tiles; a run takes
            more than a minute.
    """
    size, runs, name = (FRAME_720P, 1, "720p, one run") if whole else (STRIPE, 5, "a row of tiles of 720p")
    yield from compare_frame(f"nf 64, {name}", wide_restorer(), direct, size, runs)
    yield from compare_frame("nf 16, 720p", tiny_restorer(), direct, FRAME_720P)


def compare_frame(
    what: str,
    restorer: TwoStageRestorer,
    direct: Callable[[TwoStageRestorer, Tensor, Tensor], Tensor],
    size: tuple[int, int],
    runs: int = 5,
    tilings: tuple[Tiling, Tiling] = (Tiling(), FAST),
) -> Iterator[Measurement]:
    """Compare one restorer on one burst of random numbers.

    Args:
        what: name of the comparison.
        restorer: to measure.
        direct: as in `benchmark_frame`.
        size: height and width of the raw planes.
        runs: of each way.
        tilings: that of the direct way, the REDS protocol's; and a fast one.
    """
    lq, noise_map = burst(5, *size)
    images: dict[str, Tensor] = {}

    def ours() -> None:
        images["ours"] = restore_frame(restorer, lq, noise_map, tilings[0]).image

    def fast() -> None:
        restore_frame(restorer, lq, noise_map, tilings[1])

    def theirs() -> None:
        images["direct"] = direct(restorer, lq, noise_map)

    our_time, fast_time, their_time = race(ours, fast, theirs, runs=runs)
    difference = (images["ours"] - images["direct"]).abs().max() / images["direct"].abs().max().clamp_min(1)
    yield Measurement(f"{what}, time", our_time, "s")
    yield Measurement(f"{what}, direct / ours", their_time / our_time, "x", at_least=1.7)
    yield Measurement(f"{what}, largest difference / largest value", float(difference), "", at_most=1e-4)
    yield Measurement(f"{what}, direct / ours with --fast", their_time / fast_time, "x")
