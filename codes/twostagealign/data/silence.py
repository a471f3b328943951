"""C libraries that print."""

import os
import sys
import threading


class _Silence:
    """Keeps C libraries from printing what they also report as an error; LibRaw and libtiff have no other way.

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


silence = _Silence()
"""Context manager, for calls of libraries that print past `sys.stderr`."""
