"""The memory of this process."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")

# Numbers of mallopt's options in malloc.h. Larger blocks, such as whole frames, go back at once; older versions take no
# larger limit.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGE_BLOCK, _KEPT = 32 * 2**20, 256 * 2**20


@dataclass(frozen=True)
class MemoryUse:
    """Peak memory of a process so far, bytes: resident, and what PyTorch allocated on the GPU (None on the CPU)."""

    resident: int
    device: int | None


def memory_used(device: torch.device) -> MemoryUse:
    """Peak memory of this process so far."""
    allocated = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return MemoryUse(resident=_peak_resident(), device=allocated)


def _peak_resident() -> int:
    if _STATUS.exists():  # getrusage counts what the process was before it became this program
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for what comes next, for the whole process.

    Features of a tile take megabytes. By itself, the C library of Linux returns much of what such blocks leave behind
    to the operating system at once, and getting it anew, page by page, takes longer than an activation: the wide
    network is 6 % faster so. What is kept is given back by `give_back_memory`. Elsewhere this does nothing.
    """
    set_option = _c_library("mallopt")
    if set_option:
        set_option(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _KEPT)


def give_back_memory() -> None:
    """Return memory that is not used any more to the operating system.

    The C library of Linux keeps freed blocks, for each thread its own: with UHD frames half a gigabyte and more.
    Elsewhere this does nothing.
    """
    trim = _c_library("malloc_trim")
    if trim:
        trim(0)


def _c_library(name: str) -> Callable[..., int] | None:
    """A function of glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
