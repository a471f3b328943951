"""Benchmark of restoring a frame: against the direct implementation, in bfloat16, and with `--fast`."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.runtime.device import pick_dtype
from twostagealign.studies.benchmarks.measurement import Measurement, race
from twostagealign.studies.benchmarks.subjects import FRAME_720P, burst, tiny_restorer, wide_restorer

PROTOCOL = Tiling()
PARTS = (
    ("nf 64", wide_restorer, (64, 128), 1.5),
    ("nf 16", partial(tiny_restorer, parts_of_paper=True), (128, 320), 1.3),
)
"""Name, restorer, size of the part of a frame that is restored by default in raw pixels, and the bar of bfloat16."""


def benchmark_frame(
    direct: Callable[[TwoStageRestorer, Tensor, Tensor], Tensor], whole: bool = False
) -> Iterator[Measurement]:
    """Compare restoration of a burst of five frames.

    Args:
        direct: direct implementation; takes restorer, raw planes and noise maps.
        whole: restore whole 720p frames, one run of each implementation, and with `--fast` too; takes minutes.
    """
    has_bfloat16 = pick_dtype("auto", torch.device("cpu")) == torch.bfloat16
    for name, restorer, (height, width), bar in PARTS:
        if whole:
            what, size, runs = f"{name}, 720p, one run", FRAME_720P, 1
            yield from compare_frame(what, restorer(), direct, size, runs, FAST)
        else:
            what, size, runs = f"{name}, {height}x{width} of 720p", (height, width), 10
            yield from compare_frame(what, restorer(), direct, size, runs=2)  # has no bar of time
        if has_bfloat16:
            yield from compare_dtypes(what, restorer(), size, runs, bar)


def compare_dtypes(
    what: str, restorer: TwoStageRestorer, size: tuple[int, int], runs: int = 10, bar: float | None = None
) -> Iterator[Measurement]:
    """Compare bfloat16 with float32 on one burst of random numbers, with the tiling of the protocol.

    Args:
        what: name of the comparison.
        restorer: restorer to measure.
        size: height and width of the raw planes.
        runs: number of runs in each dtype.
        bar: least ratio of the times.
    """
    frames = burst(5, *size)

    def restore(dtype: torch.dtype) -> None:
        restore_frame(restorer.compute_in(dtype), frames, PROTOCOL)

    full, low = race(partial(restore, torch.float32), partial(restore, torch.bfloat16), runs=runs)
    yield Measurement(f"{what}, bfloat16, time", low, "s")
    yield Measurement(f"{what}, float32 / bfloat16", full / low, "x", at_least=bar)


def compare_frame(
    what: str,
    restorer: TwoStageRestorer,
    direct: Callable[[TwoStageRestorer, Tensor, Tensor], Tensor],
    size: tuple[int, int],
    runs: int = 5,
    fast: Tiling | None = None,
    tiling: Tiling = PROTOCOL,
) -> Iterator[Measurement]:
    """Compare one restorer on one burst of random numbers, in float32.

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
