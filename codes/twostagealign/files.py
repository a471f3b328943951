"""Files that matter are written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from twostagealign.errors import UserError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name in the same folder, then put it in its place.

    Args:
        path: the file to create or replace.
        write: called with the temporary path.

    Raises:
        UserError: the file cannot be written; what stood there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            write(temporary)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def output_folder(path: Path) -> Path:
    """Create a folder, with its parents, and make sure that files can be written there.

    Returns:
        The path as given.

    Raises:
        UserError: it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as trial:
            trial.write(b"trial")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected a folder that can be written to") from error
    return path
