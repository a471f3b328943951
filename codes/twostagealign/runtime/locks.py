"""Locks on folders: one process writes into a folder at a time."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from twostagealign.runtime.errors import UserError

logger = logging.getLogger("twostagealign")


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the exclusive lock of a folder.

    The lock belongs to the folder's path, not to the folder: it lies beside it, so the folder may be renamed or
    created while the lock is held. The operating system releases it when the process ends, however it ends; processes
    that were forked do not hold it. On a file system without locks a warning is logged, and nothing is locked.

    Args:
        folder: the folder, which need not exist; its parent is created.

    Raises:
        UserError: another process holds the lock, and the message says which one; or the parent cannot be created.
    """
    path = folder.absolute()
    name = path.name.encode()[:240].decode(errors="ignore")  # of a name as long as a file system allows, its begin
    file, holder = path.with_name(f".{name}.lock"), path.with_name(f".{name}.holder")
    # Removed on release, so that no files are left behind. Whoever waited for a removed file locks a new one.
    lock = FileLock(file, timeout=0, fallback_to_soft=False, thread_local=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be created ({error.strerror})") from error
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{folder}: in use by {_read_holder(holder)}; wait for it, or choose another name") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        logger.warning("%s: cannot be locked (%s); make sure that no other process writes into it", folder, reason)
        yield
        return
    try:
        with suppress(OSError):  # as on a full disk: the lock holds without it
            since = time.strftime("%Y-%m-%d %H:%M:%S")
            holder.write_text(f"{socket.gethostname()}, process {os.getpid()}, since {since}", encoding="utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        if os.name == "posix":  # elsewhere an open file cannot be removed
            file.unlink(missing_ok=True)
        lock.release()


def _read_holder(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()[:200] or "another process"
    except OSError:
        return "another process"
