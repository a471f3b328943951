"""The learning rate over a training run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from torch.optim import Optimizer


@dataclass(frozen=True)
class CosineRestarts:
    """Cosine annealing with restarts; period lengths and peaks are given one by one.

    The rate is a closed form of the iteration, so a resumed run has exactly the rates of an undisturbed one. A period
    ends on `eta_min` itself; the peak of the next period follows one iteration later.

    Attributes:
        periods: length of each period, iterations.
        restart_weights: factor on the learning rate at the start of each period.
        eta_min: learning rate at the end of each period.
        warmup: number of iterations at the start over which the rate grows linearly to that of the cosine.

    Source: Loshchilov & Hutter, "SGDR", ICLR 2017. Restarts at given iterations, from `restart weight * rate` down to
    `eta_min`, are EDVR's.
    """

    periods: Sequence[int]
    restart_weights: Sequence[float]
    eta_min: float
    warmup: int = 0

    def rate(self, iteration: int, base: float) -> float:
        """Learning rate of an iteration.

        Args:
            iteration: number of the iteration, from 0.
            base: learning rate that the weights of the periods multiply; 0 stays 0.
        """
        if base == 0:
            return 0.0
        starts = [0, *(end + 1 for end in accumulate(self.periods[:-1]))]
        k = bisect_right(starts, iteration) - 1
        phase = min((iteration - starts[k]) / self.periods[k], 1.0)
        warm = min((iteration + 1) / (self.warmup + 1), 1.0)
        peak = self.restart_weights[k] * base
        return warm * (self.eta_min + (peak - self.eta_min) * (1 + math.cos(math.pi * phase)) / 2)

    def set_rates(self, optimizer: Optimizer, iteration: int) -> None:
        """Set the learning rate of each group from its `initial_lr`."""
        for group in optimizer.param_groups:
            group["lr"] = self.rate(iteration, group["initial_lr"])
