"""Benchmark of restoring every frame of a clip by one process, against one process for each frame."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from twostagealign.data import read_picture
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.runtime.memory import keep_freed_memory, memory_used
from twostagealign.studies.benchmarks.data import make_clips
from twostagealign.studies.benchmarks.measurement import Measurement


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
        together = _seconds(clip, folder / "clip", "--sliding") / count
        alone = median(_seconds(clip, folder / str(number), f"--reference={number}") for number in references)
        equal = []
        for number in references:
            one, other = (read_picture(folder / place / f"{number:08d}.png") for place in ("clip", str(number)))
            equal.append(np.array_equal(one, other))
        peak, single_peak = _peak(clip, sliding=True), _peak(clip, sliding=False)
    what = f"nf 16, {count} frames of {height}x{width}"
    yield Measurement(f"{what}, time of a frame", together, "s")
    yield Measurement(f"{what}, one by one / time of a frame", alone / together, "x", at_least=1.3)
    yield Measurement(f"{what}, pictures that are equal", 100 * sum(equal) / len(equal), "%", at_least=100)
    yield Measurement(f"{what}, peak memory / that of one frame", peak / single_peak, "x", at_most=1.1)


def _seconds(clip: Path, output: Path, option: str) -> float:
    """Time of the whole program."""
    command = [sys.executable, "-m", "twostagealign", "restore", "--simulate", "high", "--device", "cpu", option]
    start = time.perf_counter()
    subprocess.run([*command, "--input", clip, "--output", output], check=True, capture_output=True)
    return time.perf_counter() - start


def _peak(clip: Path, sliding: bool) -> int:
    code = f"from {__name__} import peak_of_clip as peak; print(peak({str(clip)!r}, {sliding}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return int(done.stdout)


def peak_of_clip(clip: str, sliding: bool) -> int:
    """Restore the middle frame of a clip, or all, in this process, and return its peak resident memory, bytes."""
    keep_freed_memory()  # as in every program
    request = Request(find_checkpoint("tiny"), simulate="high", sliding=sliding, device="cpu")
    with tempfile.TemporaryDirectory() as output:
        restore_folder(Path(clip), Path(output), request)
    return memory_used(torch.device("cpu")).resident
