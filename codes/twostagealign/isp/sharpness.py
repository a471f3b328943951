"""Sharpness of raw frames, by which a reference frame is chosen."""

from collections.abc import Sequence

import torch
from torch import Tensor

WELL_EXPOSED = 0.95
"""Signal above which noise may clip a sample."""


class Sharpness:
    """Gradient energy of a raw frame against its noise. The frame is looked at band by band, from top to bottom.

    The grey value, the mean of the four planes, is compared with that of its right and its lower neighbour. The result
    is the mean of squared difference over noise variance over all well-exposed pairs: 1 for a frame without detail, and
    larger for a sharper frame. It compares frames of one scene and exposure.
    """

    def __init__(self) -> None:
        self._total, self._count = 0.0, 0
        self._last: list[Tensor] = []  # of the last row: see `add`

    def add(self, planes: Tensor, noise: Tensor) -> None:
        """Look at the next rows.

        Args:
            planes: raw planes, (4, rows, W), in [0, 1].
            noise: standard deviation of the noise of every sample, the same shape.
        """
        grey = planes.mean(dim=0)
        variance = (noise.square().mean(dim=0) / len(planes)).clamp_min(1e-10)
        rows = [grey, variance, planes.amax(dim=0) < WELL_EXPOSED]
        self._compare([row[:, :-1] for row in rows], [row[:, 1:] for row in rows])
        above = [torch.cat((last, row[:-1])) for last, row in zip(self._last, rows, strict=True)] if self._last else []
        self._compare(above or [row[:-1] for row in rows], rows if above else [row[1:] for row in rows])
        self._last = [row[-1:] for row in rows]

    def _compare(self, one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
        """Compare pixels with their neighbours: grey value, variance of its noise, and whether it is well exposed."""
        (grey, variance, exposed), (its_grey, its_variance, its_exposed) = one, other
        pairs = exposed & its_exposed
        energy = (grey - its_grey).square_().div_(variance + its_variance)
        self._total += energy[pairs].sum(dtype=torch.float64).item()
        self._count += int(pairs.sum())

    @property
    def value(self) -> float:
        """The mean; 0 if no two neighbours are well exposed."""
        return self._total / self._count if self._count else 0.0
