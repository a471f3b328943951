"""Libraries that print."""

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager


class _Shared:
    """A context that threads share: the first one to enter begins it, the last one to leave ends it.

    It changes something of the whole process. If every thread changed and restored that by itself, the first one to
    leave would also end it for the others.
    """

    def __init__(self, begin: Callable[[], AbstractContextManager[None]]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._inside = 0
        self._context = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._context.enter_context(self._begin())
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._context.close()


@contextmanager
def _descriptor_leads_nowhere() -> Iterator[None]:
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    yield
    os.dup2(stderr, 2)
    os.close(stderr)


@contextmanager
def _warnings_are_ignored() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


silence = _Shared(_descriptor_leads_nowhere)
"""Context manager, for calls of C libraries that print past `sys.stderr` what they also report as an error.

While any thread is inside, all that the process writes to file descriptor 2 is lost. LibRaw and libtiff offer no other
way to keep them quiet.
"""

no_warnings = _Shared(_warnings_are_ignored)
"""Context manager, for calls of libraries whose warnings are not needed. It also hides those of other threads."""
