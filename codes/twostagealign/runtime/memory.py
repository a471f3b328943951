"""Memory of this process."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")

# Option numbers of mallopt, from malloc.h. Blocks above the limit, such as whole frames, are returned at once; older
# versions of glibc accept no higher limit.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
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
    if _STATUS.exists():  # getrusage would include the program that started this one by exec
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for reuse, for the whole process; Linux only.

    Features of a tile take megabytes. By default, glibc returns such blocks to the operating system when they are
    freed. Getting them again, page by page, takes longer than an activation; keeping them makes the wide network 6 %
    faster. `give_back_memory` returns what is kept.
    """
    set_option = _c_library("mallopt")
    if set_option:
        set_option(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        set_option(_M_TRIM_THRESHOLD, _KEPT)


def share_freed_memory() -> None:
    """Let all threads take memory from one pool, for the whole process, which has no other thread yet; Linux only.

    By default, glibc has a pool for each thread, which keeps what the thread has freed and cannot use it for another:
    several hundred megabytes in a server that works on large pictures in several threads.
    """
    set_option = _c_library("mallopt")
    if set_option:
        set_option(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Return freed memory to the operating system; Linux only.

    glibc keeps freed blocks per thread: half a gigabyte and more with UHD frames.
    """
    trim = _c_library("malloc_trim")
    if trim:
        trim(0)


def _c_library(name: str) -> Callable[..., int] | None:
    """A function of glibc; None on other systems."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
