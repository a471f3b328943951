"""Whether a network is being exported. Its graph is then recorded once for tiles of all sizes."""

from collections.abc import Iterator
from contextlib import contextmanager

_active = False


def is_exporting() -> bool:
    """Whether this is called inside `exporting`."""
    return _active


@contextmanager
def exporting() -> Iterator[None]:
    """Context in which networks do not divide their work by size, and deform features by one operator."""
    global _active
    _active = True
    try:
        yield
    finally:
        _active = False
