"""LibRaw: opens raw files of cameras, and keeps quiet."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import check_regular
from twostagealign.runtime.silence import silence

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
        with silence, rawpy.imread(str(path)) as raw:
            yield raw
    except rawpy.LibRawError as error:
        message = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise UserError(f"{path}: not a raw file, or corrupt ({message})") from error
