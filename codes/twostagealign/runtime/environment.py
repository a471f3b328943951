"""What a program ran on, for the record."""

import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from twostagealign.runtime.device import has_bfloat16

PACKAGES = ("torch", "torchvision", "numpy", "opencv-python-headless", "lmdb")


def environment() -> dict[str, str | int]:
    """CPU, cores, GPU and versions of this machine."""
    cpu_info = Path("/proc/cpuinfo")
    names = [line for line in cpu_info.read_text().splitlines() if "model name" in line] if cpu_info.exists() else []
    return {
        "cpu": names[0].partition(": ")[2] if names else platform.processor(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "bfloat16": "in hardware" if has_bfloat16(torch.device("cpu")) else "no",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "command": " ".join(sys.argv),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return "not installed"
