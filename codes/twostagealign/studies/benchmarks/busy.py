"""Benchmark of a restoration while other programs keep the cores busy."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from twostagealign.studies.benchmarks.data import make_clips
from twostagealign.studies.benchmarks.measurement import Measurement
from twostagealign.studies.benchmarks.program import ProgramRun, restore

_BUSY = "while True: pass"


def benchmark_busy(
    height: int = 720, width: int = 1280, others: int = 2, runs: int = 2, most: float = 1.3
) -> Iterator[Measurement]:
    """Measure `restore.py` on a burst of five pictures, alone and beside programs that never wait, in turn.

    Args:
        height: height of a frame, RGB pixels.
        width: width of a frame, RGB pixels.
        others: number of the other programs.
        runs: number of runs of each kind.
        most: bar for the CPU time beside others, as a multiple of that alone.
    """
    alone: list[ProgramRun] = []
    beside: list[ProgramRun] = []
    with tempfile.TemporaryDirectory() as workplace:
        folder = Path(workplace)
        make_clips(folder, 1, 5, height, width)
        for _ in range(runs):
            for kind, number in ((alone, 0), (beside, others)):
                with ExitStack() as stack:
                    for _ in range(number):
                        other = subprocess.Popen([sys.executable, "-c", _BUSY])
                        stack.callback(other.wait)
                        stack.callback(other.kill)
                    kind.append(restore(folder / "000", folder / "restored", "--simulate", "high"))
    what = f"nf 16, {alone[0].dtype}, 5 x {height}x{width}"
    idle, busy = (median(run.cpu_seconds for run in kind) for kind in (alone, beside))
    yield Measurement(f"{what}, time", median(run.seconds for run in alone), "s")
    yield Measurement(f"{what}, beside {others} programs, time", median(run.seconds for run in beside), "s")
    yield Measurement(f"{what}, CPU time", idle, "s")
    yield Measurement(f"{what}, beside {others} programs / alone, CPU time", busy / idle, "x", at_most=most)
