"""Files: where they are, reading regular files only, atomic writes."""

import errno
import hashlib
import importlib.resources
import io
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from twostagealign.runtime.errors import UserError

_PACKAGE = Path(str(importlib.resources.files("twostagealign")))
_INSTALLED = (_PACKAGE / "shipped").is_dir()

SHIPPED = _PACKAGE / "shipped" if _INSTALLED else _PACKAGE.parent.parent
"""Folder of the files that come with the project: package data where it is installed, otherwise the checkout's root."""

_NAME_BYTES, _PATH_BYTES = 255, 4096
_CANNOT_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EACCES, errno.EPERM)


def checked_path(text: str) -> Path:
    """Check that a string from a command line or an options file can be a path; also a `type` for argparse.

    Args:
        text: the string.

    Returns:
        The path, which need not exist.

    Raises:
        UserError: it contains a NUL or is not UTF-8, a name in it is longer than file systems allow, or a link in it
            leads back to itself.
    """
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{text[:60]}: a path that is not UTF-8; rename the file or folder") from None
    if b"\0" in encoded:
        raise UserError(f"{text[:60]}: not a path, since it contains a NUL character")
    longest = max(map(len, encoded.split(os.fsencode(os.sep))))
    if longest > _NAME_BYTES or len(encoded) > _PATH_BYTES:
        found, limit = (longest, _NAME_BYTES) if longest > _NAME_BYTES else (len(encoded), _PATH_BYTES)
        what = "a name in this path" if longest > _NAME_BYTES else "this path"
        raise UserError(f"{text[:60]}...: {what} has {found} bytes, the limit is {limit}")
    try:
        os.stat(text)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f"{text}: a link that leads back to itself; replace or remove it") from None
    return Path(text)


def open_regular(path: Path, limit: int, expected: str) -> io.BufferedReader:
    """Open a file for reading, unless it is a folder, a device or a pipe, or too large. Never blocks.

    Args:
        path: the file.
        limit: largest accepted size, bytes.
        expected: what the file should be, for errors, such as "a YAML file".

    Returns:
        The open file.

    Raises:
        UserError: there is no such file, it cannot be opened or read, is not a regular file, or is larger than `limit`.
    """
    # Opening a pipe without O_NONBLOCK would wait for a writer; a regular file ignores the flag.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        problem = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise UserError(f"{path}: {problem}, expected {expected}") from error
    except ValueError as error:
        raise UserError(f"{path}: not a path ({error}), expected {expected}") from error
    problem = _problem(os.fstat(descriptor), limit)
    if problem:
        os.close(descriptor)
        raise UserError(f"{path}: {problem}, expected {expected}")
    file = os.fdopen(descriptor, "rb")
    try:
        file.peek(1)  # /proc/self/mem is a regular file that cannot be read, and so is one on a damaged disk
    except OSError as error:
        file.close()
        raise UserError(f"{path}: {error.strerror}, expected {expected}") from error
    return file


def read_regular(path: Path, limit: int, expected: str) -> bytes:
    """Read a whole file; arguments and errors are those of `open_regular`."""
    try:
        with open_regular(path, limit, expected) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected {expected}") from error
    if len(content) > limit:  # it grew while it was read
        raise UserError(f"{path}: more than {limit} bytes, expected {expected}")
    return content


def check_regular(path: Path, limit: int, expected: str) -> None:
    """Check a file that a library will open by its name; arguments and errors are those of `open_regular`."""
    open_regular(path, limit, expected).close()


def _problem(status: os.stat_result, limit: int) -> str | None:
    """What makes a file unfit to be read, if anything."""
    if stat.S_ISDIR(status.st_mode):
        return "is a folder"
    if not stat.S_ISREG(status.st_mode):
        return "is a pipe, a device or a socket"
    if status.st_size > limit:
        return f"{status.st_size} bytes are more than the limit of {limit}"
    return None


def locate(path: Path) -> Path:
    """Look a path up from the current folder and, if nothing of that name is there, from `SHIPPED`.

    Returns:
        The one of the two that exists; `path` itself if neither does.
    """
    return SHIPPED / path if not path.exists() and (SHIPPED / path).exists() else path


def locate_output(path: Path) -> Path:
    """Look up a folder for results: as `locate` does in a checkout; an installed package never writes into itself."""
    return path if _INSTALLED else locate(path)


def user_cache() -> Path:
    """Folder for what this package finds out and can find out again; it may not exist yet."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path("~/.cache").expanduser()) / "twostagealign"


def sha256(path: Path) -> str:
    """SHA-256 of the content of a regular file, in hexadecimal; UserError if it is none."""
    with open_regular(path, sys.maxsize, "a file") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, path: Path) -> None:
    """Give a file a second name in its folder; where the file system has no hard links, make a second file."""

    def write(temporary: Path) -> None:
        try:
            temporary.unlink()
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)

    write_atomically(path, write)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a temporary name in the same folder, then rename it. Both are on the disk on return.

    Args:
        path: the file to create or replace.
        write: called with the temporary path.

    Raises:
        UserError: the file cannot be written; what stood there before is untouched.
    """
    if not path.name:
        raise UserError(f"{path}: is a folder, expected the name of a file to write")
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
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_json(path: Path, value: object) -> None:
    """Write JSON, atomically.

    Args:
        path: the file to create or replace.
        value: JSON values; numbers must be finite, since JSON has no others.

    Raises:
        ValueError: a number is infinite or NaN.
        UserError: the file cannot be written.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _sync_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, where the platform and the file system can do that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = None
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def check_output_folder(path: Path) -> None:
    """Check that a folder can be written to, or created, without creating it; UserError if not."""
    try:
        existing = next(folder for folder in (path.absolute(), *path.absolute().parents) if os.path.lexists(folder))
        with tempfile.TemporaryFile(dir=existing) as trial:
            trial.write(b"trial")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected a folder that can be written to") from error


def output_folder(path: Path) -> Path:
    """Create a folder, with its parents, check that files can be written there, and return it; UserError if not."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected a folder that can be written to") from error
    check_output_folder(path)
    return path


def prepare_output(path: Path) -> None:
    """Create the folder of a file that long work will write. UserError if the file cannot be written there."""
    if path.is_dir():
        raise UserError(f"{path}: is a folder, expected the name of a file to write")
    output_folder(path.parent)
