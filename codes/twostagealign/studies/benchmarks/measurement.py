"""A measured number with its bar, and ways to time things."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

LONG = 2.0  # seconds


@dataclass(frozen=True)
class Measurement:
    """One result of a suite.

    Attributes:
        name: what was measured.
        value: the number.
        unit: of the number.
        at_least: the bar, for what should be large.
        at_most: the bar, for what should be small.
    """

    name: str
    value: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None

    @property
    def passes(self) -> bool:
        """Whether the number is on the right side of its bars; without one, always."""
        low = float("-inf") if self.at_least is None else self.at_least
        high = float("inf") if self.at_most is None else self.at_most
        return low <= self.value <= high

    def __str__(self) -> str:
        bars = [f"{sign} {bar:g}" for sign, bar in ((">=", self.at_least), ("<=", self.at_most)) if bar is not None]
        verdict = ("pass" if self.passes else "FAIL") if bars else ""
        number = f"{self.value:.2e}" if 0 < abs(self.value) < 0.01 else f"{self.value:.2f}"
        return f"{self.name:60}{number:>10} {self.unit:9}{' '.join(bars):>9} {verdict}".rstrip()


def race(*candidates: Callable[[], object], runs: int = 5) -> list[float]:
    """Let candidates do their work in turn: what slows the machine down for a while slows all of them.

    Args:
        candidates: each does the work once. Its first time, which warms it up, does not count if it is shorter than
            `LONG`; what takes longer has little to warm up.
        runs: of each candidate, that count.

    Returns:
        The median time of each, seconds.
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
    return [median(own) for own in times]


def rate(action: Callable[[int], object], seconds: float) -> float:
    """How many times a second something can be done.

    Args:
        action: does it for the i-th time; it is called once beforehand.
        seconds: how long to do it, at least once.

    Returns:
        Times per second.
    """
    action(0)
    count, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds or count == 0:
        count += 1
        action(count)
    return count / elapsed
