"""Hooks: what else happens in the course of a training run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twostagealign.training.batches import Batch
from twostagealign.training.step import StepResult
from twostagealign.training.validation import ClipQuality

if TYPE_CHECKING:
    from twostagealign.training.trainer import Trainer


@dataclass(frozen=True)
class StepReport:
    """A finished step.

    Attributes:
        batches: batches of this process.
        result: loss terms of the step.
        waited: seconds that the step waited for data.
        worked: seconds that it took after that.
    """

    batches: Sequence[Batch]
    result: StepResult
    waited: float
    worked: float


class Hooks:
    """Methods that a training run calls, on every process. They do nothing unless a subclass overrides them."""

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        """Called after each step; `trainer.progress` counts it already."""

    def on_validation(self, trainer: Trainer, qualities: Sequence[ClipQuality], folder: Path) -> None:
        """Called after each validation that was not cut short; its pictures are in `folder`."""

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Called after weights and training state of `trainer.progress.iteration` have been written."""
