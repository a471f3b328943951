"""Time of each part of a job."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Sum the time of each part of a job.

    A GPU works asynchronously. Its times are recorded as events and read by `seconds`, so that timing itself does not
    synchronise.

    Args:
        device: device of the job.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._seconds: dict[str, float] = defaultdict(float)
        self._pending: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Add the time of the `with` block to `part`."""
        if self.device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            stream = torch.cuda.current_stream(self.device)
            start.record(stream)
            yield
            end.record(stream)
            self._pending.append((part, start, end))
        else:
            began = time.perf_counter()
            yield
            self._seconds[part] += time.perf_counter() - began

    def add(self, part: str, seconds: float) -> None:
        """Add time that was measured elsewhere to `part`."""
        self._seconds[part] += seconds

    @property
    def seconds(self) -> dict[str, float]:
        """Time of each part so far, seconds; synchronises with the GPU."""
        for part, start, end in self._pending:
            end.synchronize()
            self._seconds[part] += start.elapsed_time(end) / 1000
        self._pending.clear()
        return dict(self._seconds)
