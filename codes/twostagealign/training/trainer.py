"""The training loop."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from torch.optim import Adam

from twostagealign.archs import deformable_layers
from twostagealign.data import degrade, write_picture
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import load_strictly, save_torch_file
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder
from twostagealign.runtime.locks import folder_lock
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.average import WeightAverage
from twostagealign.training.batches import Batch, TrainingBursts
from twostagealign.training.experiment import Experiment
from twostagealign.training.hooks import Hooks, StepReport
from twostagealign.training.optimizer import load_moments
from twostagealign.training.record import TrainingRecord
from twostagealign.training.schedule import CosineRestarts
from twostagealign.training.state import LossScale, Progress
from twostagealign.training.step import StepResult, TrainingStep
from twostagealign.training.stop import StopRequest
from twostagealign.training.validation import Validation

SKIPS_IN_A_ROW = 10
"""So many consecutive steps without a finite loss and gradient stop a run: it will not recover."""


@dataclass(frozen=True)
class Intervals:
    """How often something happens in a run: iterations between two times. All of it also happens at the end.

    Attributes:
        report: lines of the log.
        validation: validations.
        checkpoint: checkpoints.
    """

    report: int
    validation: int
    checkpoint: int


class Trainer:
    """Trains a `TwoStageRestorer`. Nothing is read or written before `run`; `build_trainer` makes one from options.

    Burst k of a run is a function of the run's seeds and of k, and every process knows which bursts are its own. The
    training state therefore needs no state of a random generator, and a resumed run continues exactly.

    Args:
        restorer: networks to train, on their device.
        step: the training step.
        optimizer: optimizer of the step.
        schedule: learning rates.
        decay: decay of the running average of the weights per step, in [0, 1).
        bursts: training bursts.
        validation: validation, of the averaged weights.
        experiment: folder for the results.
        record: log and curves.
        total_iter: number of steps of the whole run.
        intervals: when to report, validate, and save.
        metadata: metadata of the weights; see `save_weights`.
        resume: go on from the experiment's newest training state, if there is one.
        ranks: the processes that train together.
        hooks: what else happens, in this order.

    Attributes:
        progress: how far the run has come.
        average: running average of the weights.
    """

    def __init__(
        self,
        *,
        restorer: TwoStageRestorer,
        step: TrainingStep,
        optimizer: Adam,
        schedule: CosineRestarts,
        decay: float,
        bursts: TrainingBursts,
        validation: Validation,
        experiment: Experiment,
        record: TrainingRecord,
        total_iter: int,
        intervals: Intervals,
        metadata: Mapping[str, Any],
        resume: bool = False,
        ranks: Ranks | None = None,
        hooks: Sequence[Hooks] = (),
    ) -> None:
        self.restorer = restorer
        self.step = step
        self.optimizer = optimizer
        self.schedule = schedule
        self.bursts = bursts
        self.validation = validation
        self.experiment = experiment
        self.record = record
        self.total_iter = total_iter
        self.intervals = intervals
        self.metadata = dict(metadata)
        self.resume = resume
        self.ranks = ranks or Ranks()
        self.hooks = tuple(hooks)
        self.average = WeightAverage(restorer, decay)
        self.progress = Progress()

    def run(self) -> None:
        """Train to the last iteration, or until a signal asks to stop; then save and return.

        Raises:
            UserError: the experiment's folder is in use or cannot be written, a training state or a picture cannot be
                read, or the training has become unstable.
        """
        first = self.ranks.rank == 0
        with folder_lock(self.experiment.folder) if first else nullcontext(), StopRequest() as stop:
            if first:
                self.experiment.open(keep=self.resume)
            self.ranks.wait()
            notes = self._load_state() if self.resume else []
            self.schedule.set_rates(self.optimizer, self.progress.iteration)
            with self.record.open(self.progress.iteration):
                self._log_start(notes)
                self._loop(stop)
            self.ranks.wait()  # until the first process has saved

    def _loop(self, stop: StopRequest) -> None:
        progress = self.progress
        if progress.iteration != progress.validated and self._is_due(self.intervals.validation):
            self._validate(stop)  # a stop had cut it short
        steps = self.bursts.steps(progress.bursts, max(self.total_iter - progress.iteration, 0))
        while progress.iteration < self.total_iter:
            self._train(steps)
            if self._is_due(self.intervals.report):
                self._report()
            stopped = self.ranks.any(stop.received is not None)
            if not stopped and self._is_due(self.intervals.validation):
                self._validate(stop)
                stopped = self.ranks.any(stop.received is not None)
            if stopped or self._is_due(self.intervals.checkpoint):
                self._save()
            if stopped:
                reason = stop.received or "a signal to another process"
                self.record.say("iteration %d: saved and stopped by %s", progress.iteration, reason)
                break

    def _log_start(self, notes: Sequence[str]) -> None:
        for note in notes:
            self.record.say("%s", note)
        parameters = sum(p.numel() for p in self.restorer.parameters())
        where = f"{self.step.device}" + (f", {self.ranks.count} processes" if self.ranks.count > 1 else "")
        message = "%s: %d parameters, %s, from iteration %d"
        self.record.say(message, self.record.name, parameters, where, self.progress.iteration)

    def _is_due(self, every: int) -> bool:
        iteration = self.progress.iteration
        return iteration > 0 and (iteration % every == 0 or iteration == self.total_iter)

    def _train(self, steps: Iterator[list[Batch]]) -> None:
        """One step: wait for data, learn."""
        progress, start = self.progress, time.perf_counter()
        batches = next(steps)
        arrived = time.perf_counter()
        result = self.step(batches, progress.iteration)
        if result.finite:
            self.average.update_parameters(self.restorer)
            progress.skipped_in_a_row = 0
        else:
            progress.skipped += 1
            progress.skipped_in_a_row += 1
        progress.iteration += 1
        progress.bursts += self.bursts.per_step
        self.schedule.set_rates(self.optimizer, progress.iteration)
        report = StepReport(batches, result, arrived - start, time.perf_counter() - arrived)
        self.record.add(progress.iteration, result, report.waited, report.worked)
        for hook in self.hooks:
            hook.on_step(self, report)
        if progress.skipped_in_a_row == SKIPS_IN_A_ROW:
            folder = self._save_for_inspection(batches, result)
            raise UserError(
                f"iteration {progress.iteration}: {SKIPS_IN_A_ROW} consecutive non-finite steps; stopping. "
                f"The last bursts are in {folder}"
            )

    def _report(self) -> None:
        rates = {group["name"]: group["lr"] for group in self.optimizer.param_groups}
        layers = deformable_layers(self.restorer.network)
        means = {name: layer.mean_offset for name, layer in layers.items()}
        offsets = {name: mean.item() for name, mean in means.items() if isinstance(mean, Tensor)}
        self.record.report(rates, self.progress.skipped, offsets)

    def _save_for_inspection(self, batches: Sequence[Batch], result: StepResult) -> Path:
        """Write the bursts of a failed step: clean reference frames to look at, and all tensors."""
        name = f"{self.progress.iteration}_rank{self.ranks.rank}"
        folder = output_folder(self.experiment.folder / "bad_bursts" / name)
        for number, (batch, loss) in enumerate(zip(batches, result.losses, strict=True)):
            burst = degrade(batch.frames, batch.seeds)
            tensors = {"frames": batch.frames, "lq": burst.lq, "noise_map": burst.noise_map, "target": burst.target}
            content = {name: tensor.cpu() for name, tensor in tensors.items()} | {"seeds": batch.seeds, "loss": loss}
            save_torch_file(folder / f"batch{number}.pt", content)
            for i, frames in enumerate(batch.frames.cpu()):
                reference = frames[len(frames) // 2].permute(1, 2, 0).numpy()
                write_picture(folder / f"batch{number}_burst{i}.png", reference)
        return folder

    def _validate(self, stop: StopRequest) -> None:
        progress, restorer = self.progress, copy.deepcopy(cast(TwoStageRestorer, self.average.module)).eval()
        folder = self.experiment.visualization / str(progress.iteration)
        qualities = self.validation(restorer, folder, self.ranks, lambda: stop.received)
        if len(qualities) < len(self.validation.bursts):  # cut short
            return
        psnr = statistics.fmean(quality.psnr for quality in qualities)
        if math.isnan(psnr):
            raise UserError(f"iteration {progress.iteration}: the validation PSNR is not a number; stopping")
        self.record.validation(qualities, folder)
        progress.validated = progress.iteration
        if psnr > progress.best_psnr:
            progress.best_psnr = psnr
            if self.ranks.rank == 0:
                metadata = self.metadata | {"psnr": psnr}
                self.experiment.save_best(progress.iteration, self.average.module.state_dict(), metadata)
        for hook in self.hooks:
            hook.on_validation(self, qualities, folder)

    def _save(self) -> None:
        if self.ranks.rank == 0:
            average = self.average.module.state_dict()
            state = {
                **asdict(self.progress),
                "model": self.restorer.state_dict(),
                "ema": average,
                "ema_updates": self.average.updates,
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.step.scaler.state_dict(),
                "metadata": self.metadata,
            }
            self.experiment.save(self.progress.iteration, average, self.metadata, state)
        for hook in self.hooks:
            hook.on_checkpoint(self)

    def _load_state(self) -> list[str]:
        """Load the newest usable training state; returns lines for the log."""
        state, path, notes = self.ranks.broadcast(self.experiment.newest_state() if self.ranks.rank == 0 else None)
        if state is None or path is None:
            return []
        load_strictly(self.restorer, state.model, path)
        load_strictly(self.average.module, state.ema, path)
        self.average.updates = state.ema_updates
        load_moments(self.optimizer, self.restorer, state.optimizer, path)
        self.progress = state.progress()
        if notes:
            notes = [*notes, f"going on from {path}"]
        if isinstance(state.scaler, LossScale):
            if self.step.scaler.is_enabled():
                self.step.scaler.load_state_dict(state.scaler.model_dump(by_alias=True))
            else:
                notes = [*notes, f"{path}: its loss scale is not used: train.amp is not fp16"]
        elif self.step.scaler.is_enabled():
            notes = [*notes, f"{path}: has no loss scale, which begins as new"]
        return notes
