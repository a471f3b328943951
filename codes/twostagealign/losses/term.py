"""What a term of the loss is, and what it gets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from twostagealign.data.burst import BurstBatch
from twostagealign.matching import SoftMatch

Extra = Literal["match", "interpolation", "per_frame"]


@dataclass(frozen=True)
class LossInput:
    """A restored batch: one patch of each burst.

    Attributes:
        prediction: restored patches, linear camera RGB, (B, 3, 2 * size, 2 * size), float32.
        target: clean patches, the same shape.
        burst: the whole bursts, with camera, noise maps and clean raw frames.
        iteration: iteration of the training, from 0.
        origins: top-left corners [y, x] of the patches, raw pixels, (B, 1, 2), long.
        size: side of a patch, raw pixels.
        scale: raw pixels per pixel of the matched features.
        match: how the patches were matched; None without matching.
        interpolation: pictures of the interpolation branch, the shape of `prediction`; None without one.
        per_frame: what each frame alone makes of the picture, (N, B, 3, 2 * size, 2 * size); None for networks that
            give no such pictures.
    """

    prediction: Tensor
    target: Tensor
    burst: BurstBatch
    iteration: int
    origins: Tensor
    size: int
    scale: int
    match: SoftMatch | None = None
    interpolation: Tensor | None = None
    per_frame: Tensor | None = None


class LossTerm(ABC):
    """A term of the loss: its objects are called with a `LossInput`. Subclass it to add one; see docs/EXTENDING.md.

    Attributes:
        reads: what of `LossInput` it needs that may be None. Where that is None, the term is left out. The network's
            interpolation branch and the matching run only where a term reads them.
        weight: factor of the term.
        until: iteration at which the term ends; None: never.
    """

    reads: ClassVar[tuple[Extra, ...]] = ()
    weight: float = 1.0
    until: int | None = None

    @property
    def name(self) -> str:
        """Name in logs and curves."""
        return type(self).__name__

    def counts(self, iteration: int) -> bool:
        """Whether the term is a part of the loss in an iteration."""
        return self.until is None or iteration < self.until

    def factor(self, iteration: int) -> float:
        """Weight of the term in an iteration."""
        return self.weight

    @abstractmethod
    def __call__(self, x: LossInput) -> Tensor:
        """Compute the term without its weight: a scalar, a sum over all patches of the batch."""
