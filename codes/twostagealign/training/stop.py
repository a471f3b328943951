"""Graceful shutdown on signals: pre-emption by a scheduler, or `kill`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Signals that ask a run to stop; Windows has no SIGUSR1."""


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Note SIGTERM and SIGUSR1 instead of ending the process; gives the names of those received, which grow."""
    received: list[str] = []
    previous = {
        number: signal.signal(number, lambda number, frame: received.append(signal.Signals(number).name))
        for number in SIGNALS
    }
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
