"""The training state: all that a run needs to go on exactly, and its checks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from torch import Tensor

from twostagealign.models.checkpoint import check_weights
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.validation import schema_error

Number = Annotated[int, Field(ge=0, lt=2**62)]


class _Part(BaseModel):
    """A mapping of the file. Further keys are left aside: other versions may have written them."""

    model_config = ConfigDict(strict=True, arbitrary_types_allowed=True)


class Moments(_Part):
    """Adam's memory of one parameter: number of steps, and the running means of the gradient and of its square."""

    step: Tensor
    exp_avg: Tensor
    exp_avg_sq: Tensor

    @field_validator("step")
    @classmethod
    def _one_number(cls, step: Tensor) -> Tensor:
        if step.numel() != 1 or step.item() < 0:
            raise ValueError(f"found a tensor of shape {tuple(step.shape)}, expected one number of at least 0")
        return step


class Group(_Part):
    """Parameters with a learning rate of their own, by their numbers in `OptimizerState.state`."""

    name: Literal["network", "features", "deform"]
    params: list[Number]


class OptimizerState(_Part):
    """State of the optimizer."""

    state: dict[int, Moments]
    param_groups: list[Group]


class LossScale(_Part):
    """State of the scale of the losses in half precision."""

    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    growth_factor: Annotated[float, Field(gt=1, allow_inf_nan=False)]
    backoff_factor: Annotated[float, Field(gt=0, lt=1)]
    growth_interval: Annotated[int, Field(gt=0)]
    growth_tracker: Number = Field(alias="_growth_tracker")


class Progress(_Part):
    """How far a training run has come.

    Attributes:
        iteration: number of steps.
        bursts: number of bursts that all processes have taken.
        validated: iteration of the last validation.
        best_psnr: best mean PSNR of a validation, dB.
        skipped: number of steps without a finite loss and gradient.
        skipped_in_a_row: number of such steps since the last good one.
    """

    iteration: Number
    bursts: Number
    validated: Number
    best_psnr: float
    skipped: Number
    skipped_in_a_row: Number

    @classmethod
    def start(cls) -> Self:
        """Progress of a run that has not begun."""
        return cls(iteration=0, bursts=0, validated=0, best_psnr=-math.inf, skipped=0, skipped_in_a_row=0)


class TrainingState(Progress):
    """Content of a training state, besides the progress.

    Attributes:
        model: weights of the restorer, by name.
        ema: their running average, by name.
        ema_updates: number of updates of the average.
        optimizer: state of the optimizer.
        scaler: state of the loss scale; empty without one.
        metadata: metadata of the weights; see `save_weights`.
    """

    model: dict[str, Tensor]
    ema: dict[str, Tensor]
    ema_updates: Number
    optimizer: OptimizerState
    scaler: LossScale | Annotated[dict[str, Any], Field(max_length=0)]
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _counts_agree(self) -> Self:
        for name in ("validated", "skipped", "ema_updates"):
            if getattr(self, name) > self.iteration:
                raise ValueError(f"{name} is {getattr(self, name)} after {self.iteration} iterations")
        if self.skipped_in_a_row > self.skipped:
            raise ValueError(f"skipped_in_a_row is {self.skipped_in_a_row}, but skipped is {self.skipped}")
        if math.isnan(self.best_psnr):
            raise ValueError("best_psnr is NaN")
        return self

    def progress(self) -> Progress:
        """How far the run had come."""
        return Progress(**self.model_dump(include=set(Progress.model_fields)))


def check_state(content: object, iteration: int, source: Path) -> TrainingState:
    """Check the content of a training state.

    Args:
        content: the content.
        iteration: the iteration that the file's name says.
        source: the file, which an error names.

    Raises:
        UserError: a part is missing, of the wrong kind or out of range, or a number is not finite.
    """
    try:
        state = TrainingState.model_validate(content)
    except ValidationError as error:
        raise schema_error(f"{source}: not a training state", error, TrainingState) from None
    if state.iteration != iteration:
        raise UserError(f"{source}: not a training state of iteration {iteration}: it says {state.iteration}")
    check_weights(state.model, source)
    check_weights(state.ema, source)
    for index, moments in state.optimizer.state.items():
        check_weights({f"moment {name} {index}": moment for name, moment in moments}, source)
    return state
