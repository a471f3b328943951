"""What training minimises."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from twostagealign.data.burst import BurstBatch
from twostagealign.losses import Extra, LossInput, LossTerm
from twostagealign.matching import SoftMatch
from twostagealign.runtime.errors import UserError


class Objective:
    """The loss of a batch, a list of terms: sums over a burst, means over the bursts.

    Args:
        terms: the terms. Names that stand twice get a number.
    """

    def __init__(self, terms: Sequence[LossTerm]) -> None:
        self.terms: dict[str, LossTerm] = {}
        for term in terms:
            name, number = term.name, 2
            while name in {*self.terms, "loss", "gradient_norm"}:  # the last two are names of other curves
                name, number = f"{term.name}_{number}", number + 1
            self.terms[name] = term

    def __call__(
        self,
        prediction: Tensor,
        match: SoftMatch | None,
        burst: BurstBatch,
        origins: Tensor,
        size: int,
        scale: int,
        iteration: int,
    ) -> dict[str, Tensor]:
        """Compute the weighted terms; their sum is the loss.

        Args:
            prediction: of `TwoStageRestorer` in training with one patch per burst: (2B, 3, 2 * size, 2 * size) with the
                interpolation branch, (B, ...) without, ((1 + N) * B, ...) with each frame's own picture.
            match: its match, if there was one.
            burst: what was restored, with target and clean raw.
            origins: top-left corners [y, x] of the reference patches, raw pixels, (B, 1, 2), long.
            size: side of a patch, raw pixels.
            scale: raw pixels per feature pixel.
            iteration: of the training.

        Returns:
            Name -> scalar. Terms that have ended, or that read what is not there, are left out.

        Raises:
            UserError: no term is left.
        """
        target = _cut_target(burst, origins, size)
        main, *others = prediction.split(len(target))
        own = bool(others) and self.reads("per_frame")
        x = LossInput(
            prediction=main,
            target=target,
            burst=burst,
            iteration=iteration,
            origins=origins,
            size=size,
            scale=scale,
            match=match,
            interpolation=others[0] if others and not own else None,
            per_frame=torch.stack(others) if own else None,
        )
        terms = {
            name: term.factor(iteration) * term(x)
            for name, term in self.terms.items()
            if term.counts(iteration) and all(getattr(x, part) is not None for part in term.reads)
        }
        if not terms:
            raise UserError(f"train.losses: no term in iteration {iteration}; network and matching lack what they read")
        return {name: term / len(burst.lq) for name, term in terms.items()}

    def interpolates(self, iteration: int) -> bool:
        """Whether a term reads the interpolation branch in this iteration."""
        return self.reads("interpolation", iteration)

    def matches(self, iteration: int) -> bool:
        """Whether a term reads the match in this iteration."""
        return self.reads("match", iteration)

    def reads(self, part: Extra, iteration: int = 0) -> bool:
        """Whether a term reads a part of `LossInput` in an iteration."""
        return any(part in term.reads and term.counts(iteration) for term in self.terms.values())


def _cut_target(burst: BurstBatch, origins: Tensor, size: int) -> Tensor:
    # Without a look at the numbers, for which a GPU would have to finish its work first.
    lines = torch.arange(2 * size, device=origins.device)
    y, x = (2 * origins[:, 0, axis, None] + lines for axis in (0, 1))
    bursts = torch.arange(len(origins), device=origins.device)[:, None, None]
    return burst.target[bursts, :, y[:, :, None], x[:, None, :]].movedim(-1, 1).contiguous()
