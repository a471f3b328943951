"""Benchmark of restoring a whole frame, against the direct implementation at the same settings, and with `--fast`."""

from collections.abc import Callable, Iterator
from functools import partial

from torch import Tensor

from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.studies.benchmarks.measurement import Measurement, race
from twostagealign.studies.benchmarks.subjects import FRAME_720P, burst, tiny_restorer, wide_restorer

PROTOCOL = Tiling()
PARTS = (("nf 64", wide_restorer, (64, 128)), ("nf 16", partial(tiny_restorer, refine=False), (128, 320)))
"""Name, restorer, and size of the part of a frame that is restored by default, raw pixels."""


def benchmark_frame(
    direct: Callable[[TwoStageRestorer, Tensor, Tensor], Tensor], whole: bool = False
) -> Iterator[Measurement]:
    """Compare restoration of a burst of five frames.

    Args:
        direct: direct implementation; takes restorer, raw planes and noise maps.
        whole: restore whole 720p frames, one run of each implementation, and with `--fast` too; takes minutes.
    """
    for name, restorer, (height, width) in PARTS:
        if whole:
            yield from compare_frame(f"{name}, 720p, one run", restorer(), direct, FRAME_720P, 1, FAST)
        else:
            yield from compare_frame(f"{name}, {height}x{width} of 720p", restorer(), direct, (height, width))


def compare_frame(
    what: str,
    restorer: TwoStageRestorer,
    direct: Callable[[TwoStageRestorer, Tensor, Tensor], Tensor],
    size: tuple[int, int],
    runs: int = 5,
    fast: Tiling | None = None,
    tiling: Tiling = PROTOCOL,
) -> Iterator[Measurement]:
    """Compare one restorer on one burst of random numbers.

    Args:
        what: name of the comparison.
        restorer: restorer to measure.
        direct: direct implementation, see `benchmark_frame`.
        size: height and width of the raw planes.
        runs: number of runs of each implementation.
        fast: another tiling to measure; None: no other.
        tiling: tiling of both implementations.
    """
    frames = burst(5, *size)
    lq, noise_map = frames.stack()
    images: dict[str, Tensor] = {}

    def ours() -> None:
        images["ours"] = restore_frame(restorer, frames, tiling).image

    def theirs() -> None:
        images["direct"] = direct(restorer, lq, noise_map)

    fastest = [partial(restore_frame, restorer, frames, fast)] if fast else []
    our_time, their_time, *fast_time = race(ours, theirs, *fastest, runs=runs)
    difference = (images["ours"] - images["direct"]).abs().max() / images["direct"].abs().max().clamp_min(1)
    yield Measurement(f"{what}, time", our_time, "s")
    yield Measurement(f"{what}, direct / ours", their_time / our_time, "x")
    yield Measurement(f"{what}, largest difference / largest value", float(difference), "", at_most=1e-4)
    if fast_time:
        yield Measurement(f"{what}, direct / ours with --fast", their_time / fast_time[0], "x")
