"""How a process of a job notices that another one is lost, also while it does not wait for it."""

import os
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

SILENCE = timedelta(seconds=90)
"""A process that gives no sign of life for so long is lost. One that has ended is noticed within seconds."""

_PAUSE = 1.0  # seconds between two signs of life
_GRACE = 5.0  # seconds for the work of this process to notice the loss itself


class Watch:
    """Exchanges signs of life with the other processes of a job, in a thread of its own.

    If one is lost, the work of this process usually fails by itself, since it waits for the other. If it does not
    within seconds, because it is busy with work of its own or waits in vain, the thread ends this process with code 2.

    Args:
        message: makes the line that the thread prints before.
        silence: longest time between two signs of life.
    """

    def __init__(self, message: Callable[[], str], silence: timedelta = SILENCE) -> None:
        self._message = message
        self._group: Any = distributed.new_group(backend="gloo", timeout=silence)
        self._leaving, self._stopped = threading.Event(), threading.Event()
        self._loss: RuntimeError | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def leave(self) -> None:
        """Wait until all processes leave.

        Raises:
            RuntimeError: one of them is lost.
        """
        self._leaving.set()
        self._thread.join()
        if self._loss:
            raise self._loss

    def stop(self) -> bool:
        """End the exchange, which to the others is as if this process were lost; returns whether it has ended."""
        self._stopped.set()
        self._leaving.set()
        self._thread.join(2 * _PAUSE)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                left = torch.tensor([self._leaving.is_set()], dtype=torch.uint8)
                distributed.all_reduce(left, distributed.ReduceOp.MIN, self._group)
                if left:
                    return
                if self._leaving.wait(_PAUSE):
                    self._stopped.wait(_PAUSE / 10)
        except RuntimeError as error:
            self._loss = error
            if not self._leaving.wait(_GRACE):
                # On a line of its own: a progress bar leaves the cursor at the end of its line.
                print(f"\nerror: {self._message()}", file=sys.stderr, flush=True)
                os._exit(2)
