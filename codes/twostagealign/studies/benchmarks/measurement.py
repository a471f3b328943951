"""Measurements with bars, and timing."""

import time
from collections.abc import Callable
from dataclasses import dataclass

LONG = 2.0
"""Seconds from which on a first run counts, because warming up matters little."""


@dataclass(frozen=True)
class Measurement:
    """One result of a suite.

    Attributes:
        name: what was measured.
        value: measured value.
        unit: unit of the value.
        at_least: lower bar; None: no lower bar.
        at_most: upper bar; None: no upper bar.
    """

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def passes(self) -> bool:
        """Whether the value meets its bars (True if it has none)."""
        low = float("-inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return low <= self.value <= high

    def __str__(self) -> str:
        bars = [f"{sign} {bar:g}" for sign, bar in ((">=", self.at_least), ("<=", self.at_most)) if bar is not None]
        verdict = ("pass" if self.passes else "FAIL") if bars else ""
        number = f"{self.value:.2e}" if 0 < abs(self.value) < 0.01 else f"{self.value:.2f}"
        return f"{self.name:60}{number:>10} {self.unit:9}{' '.join(bars):>9} {verdict}".rstrip()


def race(*candidates: Callable[[], object], runs: int = 5) -> list[float]:
    """Least time of each function, seconds. Other programs can make a run slower, but never faster.

    The functions take turns, so that a slowdown of the machine affects all of them.

    Args:
        candidates: functions to time. The first run of each is a warm-up and does not count, unless it takes `LONG`.
        runs: number of runs of each candidate that count.
    """
    times: list[list[float]] = [[] for _ in candidates]
    for turn in range(runs + 1):
        for candidate, own in zip(candidates, times, strict=True):
            if len(own) == runs:
                continue
            start = time.perf_counter()
            candidate()
            seconds = time.perf_counter() - start
            if turn or seconds >= LONG:
                own.append(seconds)
    return [min(own) for own in times]


def rate(action: Callable[[int], object], seconds: float) -> float:
    """Measure how many times per second a function can be called.

    Args:
        action: function to call, with the number of the call; call 0 is a warm-up.
        seconds: how long to call it, at least once.
    """
    action(0)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or count == 0:
        count += 1
        action(count)
    return count / elapsed
