"""LibRaw: opens raw files of cameras, and keeps quiet."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import check_regular

if TYPE_CHECKING:
    import rawpy

RAW_SUFFIXES = (".dng", ".3fr", ".arw", ".cr2", ".cr3", ".erf", ".mef", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2")
"""Of files that LibRaw reads."""


@contextmanager
def open_raw(path: Path) -> Iterator["rawpy.RawPy"]:
    """Open a raw file with LibRaw; UserError if it cannot be used. The samples are decoded when they are asked for."""
    import rawpy  # late: only raw files need it

    check_regular(path, 2**32, "a raw file")
    try:
        with _mute, rawpy.imread(str(path)) as raw:
            yield raw
    except rawpy.LibRawError as error:
        message = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise UserError(f"{path}: not a raw file, or corrupt ({message})") from error


class _Mute:
    """Keeps LibRaw from printing what it also raises, which it does from C, past `sys.stderr`; rawpy has no other way.

    While any thread is inside, file descriptor 2 of the process leads nowhere. The last one to leave restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stderr = -1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                sys.stderr.flush()
                self._stderr = os.dup(2)
                silence = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silence, 2)
                os.close(silence)
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                os.dup2(self._stderr, 2)
                os.close(self._stderr)


_mute = _Mute()
