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
        self._last_row: list[Tensor] = []  # of the maps that `_compare` takes

    def add(self, planes: Tensor, noise: Tensor) -> None:
        """Look at the next rows.

        Args:
            planes: raw planes, (4, rows, W), in [0, 1].
            noise: standard deviation of the noise of every sample, the same shape.
        """
        grey = planes.mean(dim=0)
        variance = (noise.square().mean(dim=0) / len(planes)).clamp_min(1e-10)
        maps = [grey, variance, planes.amax(dim=0) < WELL_EXPOSED]
        self._compare([part[:, :-1] for part in maps], [part[:, 1:] for part in maps])
        last_row = self._last_row or [part[:0] for part in maps]
        joined = [torch.cat(parts) for parts in zip(last_row, maps, strict=True)]
        self._compare([part[:-1] for part in joined], [part[1:] for part in joined])
        self._last_row = [part[-1:] for part in maps]

    def _compare(self, some: Sequence[Tensor], others: Sequence[Tensor]) -> None:
        """Add the energy of pairs of pixels.

        Args:
            some: three maps: grey values, variance of their noise, and whether they are well exposed.
            others: the same of the neighbours.
        """
        (grey, variance, exposed), (its_grey, its_variance, its_exposed) = some, others
        pairs = exposed & its_exposed
        energy = (grey - its_grey).square_().div_(variance + its_variance)
        self._total += energy.mul_(pairs).sum(dtype=torch.float64).item()
        self._count += int(pairs.sum())

    @property
    def value(self) -> float:
        """The mean; 0 if no two neighbours are well exposed."""
        return self._total / self._count if self._count else 0.0
