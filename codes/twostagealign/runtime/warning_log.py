"""Warnings of the package, collected for a record of what was done."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
        if logging.lastResort and not logging.getLogger().handlers:
            logging.lastResort.handle(record)  # which prints warnings only where no handler is


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the warnings that the package logs meanwhile, in all threads. They are still printed."""
    collector, logger = _Collector(), logging.getLogger("twostagealign")
    logger.addHandler(collector)
    try:
        yield collector.messages
    finally:
        logger.removeHandler(collector)
