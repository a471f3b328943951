"""The learning rate over a training run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def cosine_restarts(
    optimizer: Optimizer, periods: Sequence[int], restart_weights: Sequence[float], eta_min: float, warmup: int = 0
) -> LambdaLR:
    """Cosine annealing that starts anew after each period, periods and peaks given one by one.

    It is a closed form of the iteration, so that a resumed run has exactly the rates of an undisturbed one. A period
    ends on `eta_min` itself; the peak of the next follows one step later.

    Args:
        optimizer: its groups' learning rates are the peaks; a group whose rate is 0 stays at 0.
        periods: length of each period, iterations.
        restart_weights: factor on the peak of each period.
        eta_min: learning rate at the end of each period.
        warmup: number of iterations at the start over which the rates grow linearly to those of the cosine.

    Returns:
        A scheduler to step once per iteration.

    Source: Loshchilov & Hutter, "SGDR", ICLR 2017; restarts at given iterations, from `restart weight * rate` down
    to `eta_min`, as in EDVR's code.
    """
    starts = [0, *(end + 1 for end in accumulate(periods[:-1]))]

    def factor(iteration: int, base: float) -> float:
        if base == 0:
            return 1.0
        k = bisect_right(starts, iteration) - 1
        phase = min((iteration - starts[k]) / periods[k], 1.0)
        warm = min((iteration + 1) / (warmup + 1), 1.0)
        return warm * (eta_min + (restart_weights[k] * base - eta_min) * (1 + math.cos(math.pi * phase)) / 2) / base

    bases = [group["lr"] for group in optimizer.param_groups]
    return LambdaLR(optimizer, [lambda iteration, base=base: factor(iteration, base) for base in bases])
