"""Training logs and metrics: log file, curves, progress bar."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from twostagealign.data import read_picture
from twostagealign.runtime.environment import environment
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import write_atomically, write_json
from twostagealign.runtime.memory import memory_used
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.experiment import Experiment
from twostagealign.training.step import StepResult
from twostagealign.training.validation import ClipQuality

logger = logging.getLogger("twostagealign")


class TrainingRecord:
    """Gathers the numbers of all processes; the first process writes them down.

    Args:
        experiment: the experiment's folder.
        name: name of the experiment, shown beside the progress bar.
        total_iter: number of steps of the whole run.
        bursts_per_step: bursts per step of all processes.
        patch_size: side of a training patch, raw pixels; mean offsets of more than half of it are warned of.
        options: text of options.yml.
        tensorboard: whether curves are written for TensorBoard.
        ranks: the processes.
    """

    def __init__(
        self,
        experiment: Experiment,
        name: str,
        total_iter: int,
        bursts_per_step: int,
        patch_size: int,
        options: str,
        tensorboard: bool = True,
        ranks: Ranks | None = None,
    ) -> None:
        self.experiment = experiment
        self.name = name
        self.total_iter = total_iter
        self.bursts_per_step = bursts_per_step
        self.patch_size = patch_size
        self.options = options
        self.with_tensorboard = tensorboard
        self.ranks = ranks or Ranks()
        self.writes = self.ranks.rank == 0
        self.iteration = 0
        self.tensorboard: SummaryWriter | None = None
        self.progress: tqdm | None = None
        self._results: list[StepResult] = []
        self._waited = self._worked = 0.0

    @contextmanager
    def open(self, iteration: int) -> Iterator[None]:
        """Open log, curves and progress bar, and write down options and environment.

        Args:
            iteration: iteration that the run starts from.
        """
        folder, self.iteration = self.experiment.folder, iteration
        with ExitStack() as stack:
            if self.writes:
                stack.enter_context(self.experiment.log_to_file(logger))
                _write_text(folder / "options.yml", self.options)
                write_json(folder / "environment.json", environment() | {"processes": self.ranks.count})
                if self.with_tensorboard:
                    self.tensorboard = SummaryWriter(self.experiment.tensorboard, purge_step=iteration + 1)
                    stack.callback(self.tensorboard.close)
            stack.enter_context(logging_redirect_tqdm())
            self.progress = stack.enter_context(
                tqdm(
                    total=self.total_iter,
                    initial=iteration,
                    desc=self.name,
                    unit="it",
                    dynamic_ncols=True,
                    disable=not self.writes,
                )
            )
            yield

    def add(self, iteration: int, result: StepResult, waited: float, worked: float) -> None:
        """Add a step.

        Args:
            iteration: number of steps, this one included.
            result: numbers of the step.
            waited: seconds that the step waited for data.
            worked: seconds that it took after that.
        """
        self.iteration = iteration
        self._results.append(result)
        self._waited += waited
        self._worked += worked
        if not result.finite:
            message = "iteration %d: loss or gradient is not finite, the step is skipped"
            self.say(message, iteration, level=logging.WARNING)
        if self.progress:
            self.progress.update()

    def report(self, rates: dict[str, float], skipped: int, offsets: dict[str, float]) -> None:
        """Write down the means over the steps since the last report, and over all processes.

        Args:
            rates: learning rate of each group.
            skipped: number of steps without a finite loss and gradient so far.
            offsets: mean absolute offset of each deformable layer in the latest step, in pixels of its map.
        """
        seconds = self._waited + self._worked
        finite = [result.values for result in self._results if result.finite]
        values = _means(finite) | {
            "bursts_per_second": len(self._results) * self.bursts_per_step / seconds,
            "data_wait": self._waited / seconds,
            "memory_gib": memory_used(torch.device("cpu")).resident / 2**30,
        }
        self._results, self._waited, self._worked = [], 0.0, 0.0
        values = _means(self.ranks.gather([values]))
        system = {name: values.pop(name) for name in ("bursts_per_second", "data_wait", "memory_gib")}
        self._warn_of_large(offsets)
        entries = [f"lr {rates['network']:.3g}", *(f"{name} {value:.5g}" for name, value in values.items())]
        entries += [f"offset {max(offsets.values(), default=0):.3g}", *(f"{k} {v:.3g}" for k, v in system.items())]
        self.say("iteration %d: %s", self.iteration, ", ".join(entries))
        self._curves({f"train/{name}": value for name, value in values.items()})
        self._curves({f"rate/{name}": rate for name, rate in rates.items()})
        self._curves({f"offset/{name}": value for name, value in offsets.items()})
        self._curves({f"system/{name}": value for name, value in system.items()} | {"system/skipped": skipped})

    def _warn_of_large(self, offsets: dict[str, float]) -> None:
        for name, offset in offsets.items():
            if offset > self.patch_size / 2:
                message = (
                    "iteration %d: %s: the mean offset is %.0f pixels, more than half a patch: the training has "
                    "probably collapsed (go back to an older checkpoint with a lower train.optimizer.deform_lr)"
                )
                self.say(message, self.iteration, name, offset, level=logging.WARNING)

    def validation(self, qualities: Sequence[ClipQuality], folder: Path) -> float:
        """Write down a validation.

        Args:
            qualities: quality of each burst.
            folder: folder of its pictures.

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
                image = read_picture(path)
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
