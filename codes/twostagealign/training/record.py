"""What a training run tells: log, curves and progress bar."""

from __future__ import annotations

import json
import logging
import statistics
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import cv2
import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from twostagealign.archs import ModulatedDeformConv
from twostagealign.models import TwoStageRestorer
from twostagealign.options import TrainOptions, dump_options
from twostagealign.runtime.environment import environment
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import write_atomically
from twostagealign.runtime.memory import memory_used
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.experiment import Experiment
from twostagealign.training.step import StepResult
from twostagealign.training.validation import ClipQuality

logger = logging.getLogger("twostagealign")


class TrainingRecord:
    """Gathers what the steps of all processes say; the first process writes it down.

    Args:
        options: of the experiment.
        experiment: its folder.
        iteration: that the run starts from.
        restorer: whose offsets are watched.
        ranks: the processes.
    """

    def __init__(
        self,
        options: TrainOptions,
        experiment: Experiment,
        iteration: int,
        restorer: TwoStageRestorer,
        ranks: Ranks,
    ) -> None:
        self.options = options
        self.experiment = experiment
        self.iteration = iteration
        self.restorer = restorer
        self.ranks = ranks
        self.writes = ranks.rank == 0
        self.tensorboard: SummaryWriter | None = None
        self._results: list[StepResult] = []
        self._waited = self._worked = 0.0

    def __enter__(self) -> TrainingRecord:
        options, folder = self.options, self.experiment.folder
        self._stack = ExitStack()
        if self.writes:
            self._stack.enter_context(self.experiment.log_to_file(logger))
            _write_text(folder / "options.yml", dump_options(options))
            where = environment() | {"processes": self.ranks.count}
            _write_text(folder / "environment.json", json.dumps(where, indent=2) + "\n")
            if options.logger.tensorboard:
                self.tensorboard = SummaryWriter(self.experiment.tensorboard, purge_step=self.iteration + 1)
                self._stack.callback(self.tensorboard.close)
        self._stack.enter_context(logging_redirect_tqdm())
        self.progress = self._stack.enter_context(
            tqdm(
                total=options.train.total_iter,
                initial=self.iteration,
                desc=options.name,
                unit="it",
                dynamic_ncols=True,
                disable=not self.writes,
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def add(self, iteration: int, result: StepResult, waited: float, worked: float) -> None:
        """Take note of a step.

        Args:
            iteration: number of steps up to this one.
            result: of the step.
            waited: seconds that it waited for data.
            worked: seconds that it took after that.
        """
        self.iteration = iteration
        self._results.append(result)
        self._waited += waited
        self._worked += worked
        if not result.finite:
            message = "iteration %d: loss or gradient is not finite, the step is skipped"
            self.say(message, iteration, level=logging.WARNING)
        self.progress.update()

    def report(self, rates: dict[str, float], skipped: int) -> None:
        """Write down the means over the steps since the last report, and over all processes.

        Args:
            rates: learning rates by group.
            skipped: steps without a finite loss or gradient so far.
        """
        train, seconds = self.options.train, self._waited + self._worked
        finite = [result.values for result in self._results if result.finite]
        values = _means(finite) | {
            "bursts_per_second": len(self._results) * train.batch_size * train.accumulate * self.ranks.count / seconds,
            "data_wait": self._waited / seconds,
            "memory_gib": memory_used(torch.device("cpu")).resident / 2**30,
        }
        self._results, self._waited, self._worked = [], 0.0, 0.0
        values = _means(self.ranks.gather([values]))
        system = {name: values.pop(name) for name in ("bursts_per_second", "data_wait", "memory_gib")}
        offsets = self._offsets()
        entries = [f"lr {rates['network']:.3g}", *(f"{name} {value:.5g}" for name, value in values.items())]
        entries += [f"offset {max(offsets.values(), default=0):.3g}", *(f"{k} {v:.3g}" for k, v in system.items())]
        self.say("iteration %d: %s", self.iteration, ", ".join(entries))
        self._curves({f"train/{name}": value for name, value in values.items()})
        self._curves({f"rate/{name}": rate for name, rate in rates.items()})
        self._curves({f"offset/{name}": value for name, value in offsets.items()})
        self._curves({f"system/{name}": value for name, value in system.items()} | {"system/skipped": skipped})

    def _offsets(self) -> dict[str, float]:
        """Mean |offset| of each deformable layer in the latest step, in pixels of its map; warns of large ones."""
        found = {}
        for name, layer in self.restorer.network.named_modules():
            if isinstance(layer, ModulatedDeformConv) and layer.mean_offset is not None:
                found[name] = float(layer.mean_offset)
        for name, offset in found.items():
            if offset > self.options.train.patch_size / 2:
                message = (
                    "iteration %d: %s: the mean offset is %.0f pixels, more than half a patch: the training has "
                    "probably collapsed (go back to an older checkpoint with a lower train.optimizer.deform_lr)"
                )
                self.say(message, self.iteration, name, offset, level=logging.WARNING)
        return found

    def validation(self, qualities: list[ClipQuality], folder: Path) -> float:
        """Write down a validation.

        Args:
            qualities: of its bursts.
            folder: where its pictures are.

        Returns:
            Mean PSNR, dB.
        """
        psnr, ssim = (statistics.fmean(getattr(quality, name) for quality in qualities) for name in ("psnr", "ssim"))
        self.say("iteration %d: validation PSNR %.3f dB, SSIM %.4f", self.iteration, psnr, ssim)
        self._curves({"val/psnr": psnr, "val/ssim": ssim})
        for clip in sorted({quality.clip for quality in qualities}):
            value = statistics.fmean(quality.psnr for quality in qualities if quality.clip == clip)
            self._curves({f"val_psnr/{clip}": value})
        if self.tensorboard:
            for path in sorted(folder.glob("*.png")):
                image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
                self.tensorboard.add_image(f"val/{path.stem}", image, self.iteration, dataformats="HWC")
        return psnr

    def say(self, message: str, *values: object, level: int = logging.INFO) -> None:
        """Log a line, on the first process."""
        if self.writes:
            logger.log(level, message, *values)

    def _curves(self, values: dict[str, float]) -> None:
        if self.tensorboard:
            try:
                for name, value in values.items():
                    self.tensorboard.add_scalar(name, value, self.iteration)
                self.tensorboard.flush()
            except OSError as error:
                raise UserError(f"{self.experiment.tensorboard}: cannot be written ({error.strerror})") from error


def _means(entries: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over the entries that have it, in the order of the last entry."""
    return {
        name: statistics.fmean(entry[name] for entry in entries if name in entry)
        for name in (entries[-1] if entries else {})
    }


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
