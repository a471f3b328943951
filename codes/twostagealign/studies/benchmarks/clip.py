"""Benchmark of restoring every frame of a clip by one process, against one process for each frame."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from twostagealign.data import read_picture
from twostagealign.studies.benchmarks.data import make_clips
from twostagealign.studies.benchmarks.measurement import Measurement
from twostagealign.studies.benchmarks.program import restore


def benchmark_clip(
    count: int = 20, height: int = 360, width: int = 640, references: Sequence[int] = (0, 8, 19)
) -> Iterator[Measurement]:
    """Measure `restore.py --simulate high`, with and without `--sliding`, with the shipped checkpoint.

    Args:
        count: frames of the clip.
        height: height of a frame, RGB pixels.
        width: width of a frame, RGB pixels.
        references: frames that are also restored by themselves.
    """
    with tempfile.TemporaryDirectory() as workplace:
        folder = Path(workplace)
        make_clips(folder, 1, count, height, width)
        clip = folder / "000"
        simulated = ("--simulate", "high")
        together = restore(clip, folder / "clip", *simulated, "--sliding")
        single = [restore(clip, folder / str(number), *simulated, f"--reference={number}") for number in references]
        equal = []
        for number in references:
            one, other = (read_picture(folder / place / f"{number:08d}.png") for place in ("clip", str(number)))
            equal.append(np.array_equal(one, other))
    seconds, alone = together.seconds / count, median(run.seconds for run in single)
    peak = together.peak / median(run.peak for run in single)
    what = f"nf 16, {together.dtype}, {count} frames of {height}x{width}"
    yield Measurement(f"{what}, time of a frame", seconds, "s")
    yield Measurement(f"{what}, one by one / time of a frame", alone / seconds, "x", at_least=1.3)
    yield Measurement(f"{what}, pictures that are equal", 100 * sum(equal) / len(equal), "%", at_least=100)
    yield Measurement(f"{what}, peak memory / that of one frame", peak, "x", at_most=1.1)
