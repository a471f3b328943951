"""Graceful shutdown on signals: pre-emption by a scheduler, or `kill`."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Signals that ask a run to stop; Windows has no SIGUSR1."""


class StopRequest:
    """Notes SIGTERM and SIGUSR1 while it is entered, instead of ending the process.

    Attributes:
        received: name of the first signal that came, None before one.
    """

    def __init__(self) -> None:
        self.received: str | None = None

    def __enter__(self) -> StopRequest:
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number).name
