"""Files that matter are written whole or not at all."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from twostagealign.runtime.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[3]
"""Where the option files, the data sets and the experiments lie that come without a path of their own."""


def locate(path: Path) -> Path:
    """Look a path up from the current folder and, if there is nothing of that name, from the repository's root.

    Returns:
        The one of the two that exists; `path` itself if neither does.
    """
    return REPOSITORY / path if not path.exists() and (REPOSITORY / path).exists() else path


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, path: Path) -> None:
    """Give a file a second name; where the file system has no hard links, make a second file.

    Args:
        source: an existing file in the same folder.
        path: the name to create or replace.

    Raises:
        UserError: it cannot be written.
    """

    def write(temporary: Path) -> None:
        try:
            temporary.unlink()
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)

    write_atomically(path, write)


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
            # With the rights that new files have here: some libraries make theirs unreadable for others.
            temporary.touch()
            mode = temporary.stat().st_mode
            write(temporary)
            temporary.chmod(mode)
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
