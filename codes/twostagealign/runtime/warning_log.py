"""Warnings of the package, collected for a record of what was done."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGER = logging.getLogger("twostagealign")


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        collectors = [handler for handler in _LOGGER.handlers if isinstance(handler, _Collector)]
        if logging.lastResort and not logging.getLogger().handlers and collectors[0] is self:
            logging.lastResort.handle(record)  # which prints warnings only where no handler is


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the warnings that the package logs meanwhile, in all threads. They are still printed."""
    collector = _Collector()
    _LOGGER.addHandler(collector)
    try:
        yield collector.messages
    finally:
        _LOGGER.removeHandler(collector)
