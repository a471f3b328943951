"""The training loop and its hooks."""

from __future__ import annotations

import copy
import logging
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from twostagealign.data import write_picture
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import save_torch_file
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder
from twostagealign.runtime.locks import folder_lock
from twostagealign.training.batches import Batch, TrainingBursts
from twostagealign.training.experiment import Experiment
from twostagealign.training.schedule import CosineRestarts
from twostagealign.training.state import Progress
from twostagealign.training.step import StepResult, TrainingStep
from twostagealign.training.stop import stop_signals
from twostagealign.training.validation import ClipQuality, Validation

logger = logging.getLogger("twostagealign")

SKIPS_IN_A_ROW = 10
"""So many consecutive steps without a finite loss and gradient stop a run: it will not recover."""


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

    def on_run(self, trainer: Trainer) -> AbstractContextManager[object]:
        """Return a context for the whole run; `trainer.progress` says where it starts."""
        return nullcontext()

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        """Called after each step; `trainer.progress` counts it already."""

    def on_validation(self, trainer: Trainer, qualities: Sequence[ClipQuality], folder: Path) -> None:
        """Called after each validation that was not cut short; its pictures are in `folder`."""

    def on_curves(self, trainer: Trainer, curves: Mapping[str, float]) -> None:
        """Called with values to draw, by name, at `trainer.progress.iteration`; on the first process only."""

    def on_checkpoint(self, trainer: Trainer) -> None:
        """Called after weights and training state of `trainer.progress.iteration` have been written."""


@dataclass(eq=False, kw_only=True)
class Trainer:
    """Trains a `TwoStageRestorer`. Nothing is read or written before `run`; `build_trainer` makes one from options.

    Burst k of a run is a function of the run's seeds and of k, and every process knows which bursts are its own. The
    training state therefore needs no state of a random generator, and a resumed run continues exactly.

    Args:
        step: the training step, with networks and optimizer.
        schedule: learning rates.
        bursts: training bursts.
        validation: validation, of the averaged weights.
        experiment: folder for the results.
        total_iter: number of steps of the whole run.
        validate_every: iterations between two validations.
        save_every: iterations between two checkpoints.
        metadata: metadata of the weights; see `save_weights`.
        resume: go on from the experiment's newest training state, if there is one.
        hooks: what else happens, in this order.

    Attributes:
        progress: how far the run has come.
    """

    step: TrainingStep
    schedule: CosineRestarts
    bursts: TrainingBursts
    validation: Validation
    experiment: Experiment
    total_iter: int
    validate_every: int
    save_every: int
    metadata: dict[str, Any]
    resume: bool = False
    hooks: Sequence[Hooks] = ()
    progress: Progress = field(default_factory=Progress.start, init=False)

    def __post_init__(self) -> None:
        self.restorer, self.ranks = self.step.restorer, self.step.ranks

    def run(self) -> None:
        """Train to the last iteration, or until a signal asks to stop; then save and return.

        Raises:
            UserError: the experiment's folder is in use or cannot be written, a training state or a picture cannot be
                read, or the training has become unstable.
        """
        with ExitStack() as stack:
            if self.ranks.rank == 0:
                stack.enter_context(folder_lock(self.experiment.folder))
                self.experiment.open(keep=self.resume)
                stack.enter_context(self.experiment.log_to_file(logger))
                self.ranks.begin()
            signals = stack.enter_context(stop_signals())
            self.ranks.wait()
            if self.resume:
                self._load_state()
            self.schedule.set_rates(self.step.optimizer, self.progress.iteration)
            for hook in self.hooks:
                stack.enter_context(hook.on_run(self))
            self._loop(signals)
            self.ranks.wait()  # until the first process has saved

    def publish(self, curves: Mapping[str, float]) -> None:
        """Give values to draw to all hooks; on other processes than the first, do nothing."""
        if self.ranks.rank == 0:
            for hook in self.hooks:
                hook.on_curves(self, curves)

    def is_due(self, every: int) -> bool:
        """Whether the iteration is the last one or a multiple of `every`."""
        iteration = self.progress.iteration
        return iteration > 0 and (iteration % every == 0 or iteration == self.total_iter)

    def _loop(self, signals: list[str]) -> None:
        progress = self.progress
        if progress.iteration != progress.validated and self.is_due(self.validate_every):
            self._validate(signals)  # a stop had cut it short
        steps = self.bursts.steps(progress.bursts, max(self.total_iter - progress.iteration, 0))
        while progress.iteration < self.total_iter:
            self._train(steps)
            stopped = self.ranks.any(bool(signals))
            if not stopped and self.is_due(self.validate_every):
                self._validate(signals)
                stopped = self.ranks.any(bool(signals))
            if stopped or self.is_due(self.save_every):
                self._save()
            if stopped:
                reason = signals[0] if signals else "a signal to another process"
                logger.info("iteration %d: saved and stopped by %s", progress.iteration, reason)
                break

    def _train(self, steps: Iterator[list[Batch]]) -> None:
        progress, start = self.progress, time.perf_counter()
        batches = next(steps)
        arrived = time.perf_counter()
        result = self.step(batches, progress.iteration)
        progress.iteration += 1
        progress.bursts += self.bursts.per_step
        progress.skipped += not result.finite
        progress.skipped_in_a_row = 0 if result.finite else progress.skipped_in_a_row + 1
        self.schedule.set_rates(self.step.optimizer, progress.iteration)
        report = StepReport(batches, result, arrived - start, time.perf_counter() - arrived)
        for hook in self.hooks:
            hook.on_step(self, report)
        if progress.skipped_in_a_row == SKIPS_IN_A_ROW:
            folder = self._save_for_inspection(report)
            raise UserError(
                f"iteration {progress.iteration}: {SKIPS_IN_A_ROW} consecutive non-finite steps; stopping. "
                f"The last bursts are in {folder}"
            )

    def _save_for_inspection(self, report: StepReport) -> Path:
        """Write the bursts of a failed step: clean reference frames to look at, and all tensors."""
        name = f"{self.progress.iteration}_rank{self.ranks.rank}"
        folder = output_folder(self.experiment.folder / "bad_bursts" / name)
        for number, (batch, loss) in enumerate(zip(report.batches, report.result.losses, strict=True)):
            burst = self.step.degrade(batch)
            tensors = {"frames": batch.frames, "lq": burst.lq, "noise_map": burst.noise_map, "target": burst.target}
            content = {name: tensor.cpu() for name, tensor in tensors.items()} | {"seeds": batch.seeds, "loss": loss}
            save_torch_file(folder / f"batch{number}.pt", content)
            for i, frames in enumerate(batch.frames.cpu()):
                reference = frames[len(frames) // 2].permute(1, 2, 0).numpy()
                write_picture(folder / f"batch{number}_burst{i}.png", reference)
        return folder

    def _validate(self, signals: list[str]) -> None:
        progress, average = self.progress, cast(TwoStageRestorer, self.step.average.module)
        folder = self.experiment.visualization / str(progress.iteration)
        qualities = self.validation(copy.deepcopy(average).eval(), folder, self.ranks, lambda: signals)
        if len(qualities) < len(self.validation.bursts):  # cut short
            return
        psnr = statistics.fmean(quality.measures["psnr"] for quality in qualities)
        if math.isnan(psnr):
            raise UserError(f"iteration {progress.iteration}: the validation PSNR is not a number; stopping")
        progress.validated = progress.iteration
        if psnr > progress.best_psnr:
            progress.best_psnr = psnr
            if self.ranks.rank == 0:
                metadata = self.metadata | {"psnr": psnr}
                self.experiment.save_best(progress.iteration, average.state_dict(), metadata)
        for hook in self.hooks:
            hook.on_validation(self, qualities, folder)

    def _save(self) -> None:
        if self.ranks.rank == 0:
            state = self.progress.model_dump() | self.step.state_dict() | {"metadata": self.metadata}
            self.experiment.save(self.progress.iteration, state["ema"], self.metadata, state)
        for hook in self.hooks:
            hook.on_checkpoint(self)

    def _load_state(self) -> None:
        first = self.ranks.rank == 0
        state, path, problems = self.ranks.broadcast(self.experiment.newest_state() if first else None)
        for problem in problems:
            logger.warning("%s", problem)
        if state is None or path is None:
            return
        if problems:
            logger.warning("going on from %s", path)
        self.step.load(state, path)
        self.progress = state.progress()
