"""A measured number, and the machine that it was measured on."""

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Measurement:
    """One result of a suite.

    Attributes:
        name: what was measured.
        value: the number.
        unit: of the number.
    """

    name: str
    value: float
    unit: str


def rate(action: Callable[[int], object], seconds: float) -> float:
    """How many times a second something can be done.

    Args:
        action: does it for the i-th time; it is called once beforehand.
        seconds: how long to do it, at least once.

    Returns:
        Times per second.
    """
    action(0)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or count == 0:
        count += 1
        action(count)
    return count / elapsed


def environment() -> dict[str, str | int]:
    """Processor, cores, GPU and versions of this machine, for the record."""
    cpu_info = Path("/proc/cpuinfo")
    names = [line for line in cpu_info.read_text().splitlines() if "model name" in line] if cpu_info.exists() else []
    return {
        "cpu": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": os.cpu_count() or 1,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
