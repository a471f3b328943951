"""Where the time of a job goes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up the time of each part of a job.

    A GPU works behind the program's back. It notes the time itself and is not waited for until the times are asked for,
    so that the next part can be prepared while it is at work.

    Args:
        device: where the job works.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds: dict[str, float] = defaultdict(float)
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Count what happens inside as time of `part`."""
        if self.device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            stream = torch.cuda.current_stream(self.device)
            start.record(stream)
            yield
            end.record(stream)
            self._pending.append((part, start, end))
        else:
            start = time.perf_counter()
            yield
            self._seconds[part] += time.perf_counter() - start

    @property
    def seconds(self) -> dict[str, float]:
        """Time of each part so far; waits for the GPU."""
        for part, start, end in self._pending:
            end.synchronize()
            self._seconds[part] += start.elapsed_time(end) / 1000
        self._pending.clear()
        return dict(self._seconds)
