"""The memory of this process."""

import ctypes
import sys
from pathlib import Path

import torch

from twostagealign.engine.evaluation.results import Memory

_STATUS = Path("/proc/self/status")


def memory_used(device: torch.device) -> Memory:
    """Largest use of memory by this process so far."""
    allocated = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Memory(resident=_peak_resident(), device=allocated)


def _peak_resident() -> int:
    if _STATUS.exists():  # getrusage counts what the process was before it became this program
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def give_back_memory() -> None:
    """Return memory that is not used any more to the operating system.

    The C library of Linux keeps freed blocks of up to 32 MB, for each thread its own: with UHD frames, which come in
    blocks of just that size, half a gigabyte and more. Elsewhere this does nothing.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
        if trim:
            trim(0)
