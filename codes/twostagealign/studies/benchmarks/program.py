"""The whole program `restore.py`, as a user runs it: time, memory, stages."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_CODE = """
import runpy
import time
try:
    runpy.run_module("twostagealign", run_name="__main__")
finally:
    import torch
    from twostagealign.runtime.memory import memory_used
    print(time.process_time(), memory_used(torch.device("cpu")).resident)
"""


@dataclass(frozen=True)
class ProgramRun:
    """One run.

    Attributes:
        seconds: time of the whole program, its start included.
        cpu_seconds: CPU time of all its threads.
        peak: peak resident memory, bytes.
        stages: seconds of each stage, as in metrics.json.
        dtype: dtype of the network's convolutions.
    """

    seconds: float
    cpu_seconds: float
    peak: int
    stages: dict[str, float]
    dtype: str


def restore(source: Path, output: Path, *options: str) -> ProgramRun:
    """Restore a burst on the CPU with the shipped checkpoint, in a process of its own.

    Args:
        source: argument of `--input`.
        output: argument of `--output`.
        options: further arguments.
    """
    arguments = ["restore", "--input", str(source), "--output", str(output), "--device", "cpu", *options]
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _CODE, *arguments], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    metrics = json.loads((output / "metrics.json").read_text())
    cpu_seconds, peak = done.stdout.split()[-2:]
    return ProgramRun(seconds, float(cpu_seconds), int(peak), metrics["stages"], metrics["dtype"])
