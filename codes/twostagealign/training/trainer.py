"""The training loop."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from twostagealign.data import PROTOCOL_NOISE, check_no_overlap, degrade, write_picture
from twostagealign.models import TwoStageObjective, TwoStageRestorer
from twostagealign.models.checkpoint import find_checkpoint, load_into, load_strictly, save_torch_file
from twostagealign.options import TrainOptions
from twostagealign.options.registry import DATASETS, FEATURES, NETWORKS, build
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import locate, output_folder
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.batches import Batch, training_batches
from twostagealign.training.experiment import Experiment
from twostagealign.training.optimizer import build_optimizer
from twostagealign.training.record import TrainingRecord
from twostagealign.training.schedule import cosine_restarts
from twostagealign.training.step import StepResult, TrainingStep
from twostagealign.training.stop import StopRequest
from twostagealign.training.validation import validate

SKIPS_IN_A_ROW = 10
"""So many steps without a finite loss or gradient stop a run: it will not recover."""

PROGRESS = ("iteration", "bursts", "validated", "best_psnr", "skipped", "skipped_in_a_row")
"""Attributes of a `Trainer` that are part of the training state: how far it has come."""


class Trainer:
    """Trains a `TwoStageRestorer` as an option file says.

    Burst k of a run is a function of the seeds in the options and of k, and every process knows which bursts are its
    own. The training state therefore needs no generator's state, and a resumed run continues exactly.

    Args:
        options: checked options.
        resume: go on from the experiment's newest training state, if there is one.
        ranks: the processes that train together.

    Raises:
        UserError: options that do not fit together, or files that cannot be read or written.
    """

    def __init__(self, options: TrainOptions, resume: bool = False, ranks: Ranks | None = None) -> None:
        self.options = options
        self.ranks = ranks or Ranks()
        self.device = self.ranks.device(options.device)
        torch.manual_seed(options.seed)
        networks = build(NETWORKS, options.network), build(FEATURES, options.features)
        self.restorer = TwoStageRestorer(*networks, options.matching.refine)
        self.restorer.to(self.device)
        if options.path.pretrained:
            path = options.path
            load_into(self.restorer, find_checkpoint(path.pretrained), path.strict_load, path.widen)
        self.train_set = build(DATASETS, options.datasets.train)
        self.val_set = build(DATASETS, options.datasets.val)
        check_no_overlap(self.train_set, self.val_set)
        frames, _, height, width = self.train_set[0].shape
        origin = self._patch_origin(frames, height, width)

        self.optimizer = build_optimizer(self.restorer, options.train.optimizer)
        self.scheduler = cosine_restarts(self.optimizer, **options.train.scheduler.model_dump())
        self.ema = AveragedModel(self.restorer, multi_avg_fn=_average(options.train.ema_decay))
        self.step = TrainingStep(
            self.restorer, _build_objective(options), self.optimizer, options, origin, frames, self.ranks
        )
        self.iteration = self.bursts = self.validated = self.skipped = self.skipped_in_a_row = 0
        self.best_psnr = -torch.inf

        self.experiment = self._open_experiment(resume)
        self.notes = self._resume() if resume else []
        self.record = TrainingRecord(options, self.experiment, self.iteration, self.restorer, self.ranks)

    def _patch_origin(self, frames: int, height: int, width: int) -> int:
        """Corner of the training patch: it lies in the middle of a crop that holds all that matching can see."""
        size, window = self.options.train.patch_size, self.options.matching.search_window or 0
        unit = 2 * self.restorer.features.scale
        if height % unit or width % unit:
            raise UserError(f"datasets.train.size: found {height}x{width}, expected multiples of {unit} RGB pixels")
        needed = 2 * (size + window * (frames // 2))
        if min(height, width) < needed:
            raise UserError(
                f"datasets.train.size: found {min(height, width)}, expected at least {needed} RGB pixels: twice "
                f"(patch_size {size} + search_window {window} * {frames // 2} frames)"
            )
        return (min(height, width) // 2 - size) // 2 // self.restorer.features.scale * self.restorer.features.scale

    def _open_experiment(self, resume: bool) -> Experiment:
        """The first process makes the folder, the others use it."""
        root, logger = locate(Path(self.options.path.experiments_root)), self.options.logger
        keep = resume or self.ranks.rank > 0
        if self.ranks.rank > 0:
            self.ranks.wait()
        experiment = Experiment(root, self.options.name, keep, logger.keep_checkpoints)
        if self.ranks.rank == 0:
            self.ranks.wait()
        return experiment

    def run(self) -> None:
        """Train to the last iteration, or until SIGTERM or SIGUSR1 asks to stop; then save and return."""
        train, every = self.options.train, self.options.logger
        with StopRequest() as self.stop, self.record:
            self._say_hello()
            if self.iteration != self.validated and self._is_due(self.options.val.every):
                self._validate()  # which a stop had cut short
            batches = self._batches()
            while self.iteration < train.total_iter:
                self._train(batches)
                if self._is_due(every.print_every):
                    rates = {group["name"]: group["lr"] for group in self.optimizer.param_groups}
                    self.record.report(rates, self.skipped)
                stopped = self.ranks.any(self.stop.received is not None)
                if not stopped and self._is_due(self.options.val.every):
                    self._validate()
                    stopped = self.ranks.any(self.stop.received is not None)
                if stopped or self._is_due(every.checkpoint_every):
                    self._save()
                if stopped:
                    reason = self.stop.received or "a signal to another process"
                    self.record.say("iteration %d: saved and stopped by %s", self.iteration, reason)
                    break
            self.ranks.wait()  # until the first process has saved

    def _say_hello(self) -> None:
        parameters = sum(p.numel() for p in self.restorer.parameters())
        where = f"{self.device}" + (f", {self.ranks.count} processes" if self.ranks.count > 1 else "")
        for note in self.notes:
            self.record.say("%s", note)
        message = "%s: %d parameters, %s, from iteration %d"
        self.record.say(message, self.options.name, parameters, where, self.iteration)

    def _is_due(self, every: int) -> bool:
        return self.iteration > 0 and (self.iteration % every == 0 or self.iteration == self.options.train.total_iter)

    def _batches(self) -> Iterator[Batch]:
        train = self.options.train
        number = (train.total_iter - self.iteration) * train.accumulate
        return training_batches(
            self.train_set,
            self.options.seed,
            self.bursts,
            train.batch_size,
            number,
            train.workers,
            self.device,
            self.ranks,
        )

    def _train(self, source: Iterator[Batch]) -> None:
        """One step: wait for data, learn."""
        start = time.perf_counter()
        batches = list(islice(source, self.options.train.accumulate))
        arrived = time.perf_counter()
        result = self.step(batches, self.iteration)
        if result.finite:
            self.ema.update_parameters(self.restorer)
            self.skipped_in_a_row = 0
        else:
            self.skipped += 1
            self.skipped_in_a_row += 1
        self.scheduler.step()
        self.iteration += 1
        self.bursts += sum(len(batch.seeds) for batch in batches) * self.ranks.count
        self.record.add(self.iteration, result, arrived - start, time.perf_counter() - arrived)
        if self.skipped_in_a_row == SKIPS_IN_A_ROW:
            folder = self._save_for_inspection(batches, result)
            raise UserError(
                f"iteration {self.iteration}: found no finite loss and gradient in {SKIPS_IN_A_ROW} steps in a row, "
                f"expected them; the last bursts are in {folder}"
            )

    def _save_for_inspection(self, batches: Sequence[Batch], result: StepResult) -> Path:
        """Write the bursts of a failed step: clean reference frames to look at, and all tensors."""
        folder = output_folder(self.experiment.folder / "bad_bursts" / f"{self.iteration}_rank{self.ranks.rank}")
        for number, (batch, loss) in enumerate(zip(batches, result.losses, strict=True)):
            burst = degrade(batch.frames, batch.seeds)
            tensors = {"frames": batch.frames, "lq": burst.lq, "noise_map": burst.noise_map, "target": burst.target}
            content = {name: tensor.cpu() for name, tensor in tensors.items()} | {"seeds": batch.seeds, "loss": loss}
            save_torch_file(folder / f"batch{number}.pt", content)
            for i, frames in enumerate(batch.frames.cpu()):
                reference = frames[len(frames) // 2].permute(1, 2, 0).numpy()
                write_picture(folder / f"batch{number}_burst{i}.png", reference)
        return folder

    def _validate(self) -> None:
        val = self.options.val
        restorer = copy.deepcopy(self.ema.module).eval()
        folder = self.experiment.visualization / str(self.iteration)
        qualities = validate(
            restorer,
            self.val_set,
            PROTOCOL_NOISE[val.noise],
            Tiling(search_window=val.search_window, block_matching=self.options.matching.search_window is not None),
            folder,
            val.pictures,
            self.ranks,
            lambda: self.stop.received,
        )
        if len(qualities) < len(self.val_set):  # cut short
            return
        psnr = self.record.validation(qualities, folder)
        self.validated = self.iteration
        if psnr > self.best_psnr:
            self.best_psnr = psnr
            if self.ranks.rank == 0:
                best = self._metadata() | {"psnr": psnr}
                self.experiment.save_best(self.iteration, self.ema.module.state_dict(), best)

    def _metadata(self) -> dict[str, object]:
        options = self.options
        return {
            "network": options.network.node(),
            "features": options.features.node(),
            "refine": options.matching.refine,
        }

    def _save(self) -> None:
        if self.ranks.rank > 0:
            return
        state = {
            **{name: getattr(self, name) for name in PROGRESS},
            "model": self.restorer.state_dict(),
            "ema": self.ema.module.state_dict(),
            "ema_updates": int(self.ema.n_averaged),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.step.scaler.state_dict(),
            "metadata": self._metadata(),
        }
        self.experiment.save(self.iteration, self.ema.module.state_dict(), self._metadata(), state)

    def _resume(self) -> list[str]:
        """Take up the newest state that is whole; returns what is to be said about it."""
        state, path, problems = self.ranks.broadcast(self.experiment.newest_state() if self.ranks.rank == 0 else None)
        if state is None:
            return []
        load_strictly(self.restorer, state["model"], path)
        load_strictly(self.ema.module, state["ema"], path)
        self.ema.n_averaged.fill_(state["ema_updates"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.step.scaler.load_state_dict(state["scaler"])
        for name in PROGRESS:
            setattr(self, name, state[name])
        return [*problems, f"going on from {path}"] if problems else []


def _average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor], None]:
    """A running average of the weights that forgets its start as fast as it goes on.

    After n updates the decay is (1 + n) / (10 + n) until that exceeds the one asked for: a short training would else
    end with much of what it began with.
    """

    def average(averaged: list[Tensor], current: list[Tensor], updates: Tensor) -> None:
        get_ema_multi_avg_fn(min(decay, (1 + int(updates)) / (10 + int(updates))))(averaged, current, updates)

    return average


def _build_objective(options: TrainOptions) -> TwoStageObjective:
    losses, total = options.train.losses, options.train.total_iter
    supervision = losses.match_supervision
    supervised = supervision.weight and (supervision.until is None or supervision.until >= total)
    matching = options.matching.search_window is not None and (losses.one_hot or supervised)
    if not (losses.linear or losses.srgb or matching):
        raise UserError("train.losses: found no weight above 0 up to train.total_iter, expected one")
    weights = losses.model_dump()
    for name in ("interpolation", "match_supervision"):
        section = weights.pop(name)
        weights |= {name: section.pop("weight")} | {f"{name}_{key}": value for key, value in section.items()}
    return TwoStageObjective(**weights)


def was_restarted() -> bool:
    """Whether torchrun started this process anew after one of its machine had died: the job goes on, it does not begin.

    On the other machines, which only follow, nothing tells.
    """
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
