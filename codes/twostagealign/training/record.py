"""Training logs and metrics: log file, progress bar, and the values of curves."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from twostagealign.archs import deformable_layers
from twostagealign.metrics import display_name
from twostagealign.models.complexity import count_parameters
from twostagealign.runtime.environment import environment
from twostagealign.runtime.files import write_atomically, write_json
from twostagealign.runtime.memory import memory_used
from twostagealign.training.step import StepResult
from twostagealign.training.trainer import Hooks, StepReport, Trainer
from twostagealign.training.validation import ClipQuality

logger = logging.getLogger("twostagealign")


class TrainingRecord(Hooks):
    """Gathers the numbers of all processes; the first process writes them down.

    Args:
        every: iterations between two lines of the log.
        options: content of options.yml.
    """

    def __init__(self, every: int, options: str) -> None:
        self.every = every
        self.options = options
        self._bar: tqdm | None = None
        self._start_interval()

    def _start_interval(self) -> None:
        self._results: list[StepResult] = []
        self._waited = self._worked = 0.0

    @contextmanager
    def on_run(self, trainer: Trainer) -> Iterator[None]:
        """Write down options and environment; open the progress bar for the run."""
        folder, start, ranks = trainer.experiment.folder, trainer.progress.iteration, trainer.ranks
        with ExitStack() as stack:
            if ranks.rank == 0:
                _write_text(folder / "options.yml", self.options)
                write_json(folder / "environment.json", environment() | {"processes": ranks.count})
            stack.enter_context(logging_redirect_tqdm())
            bar = tqdm(
                desc=folder.name,
                total=trainer.total_iter,
                initial=start,
                unit="it",
                dynamic_ncols=True,
                disable=ranks.rank > 0,
            )
            self._bar = stack.enter_context(bar)
            place = f"{trainer.step.device}, {str(trainer.step.amp_dtype).removeprefix('torch.')}"
            place += f", {ranks.count} processes" if ranks.count > 1 else ""
            parameters = count_parameters(trainer.restorer)
            logger.info("%s: %d parameters, %s, from iteration %d", folder.name, parameters, place, start)
            yield

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        """Add a step; write down the means over the last steps from time to time."""
        self._results.append(report.result)
        self._waited += report.waited
        self._worked += report.worked
        if not report.result.finite:
            iteration = trainer.progress.iteration
            logger.warning("iteration %d: loss or gradient is not finite, the step is skipped", iteration)
        if self._bar:
            self._bar.update()
        if trainer.is_due(self.every):
            self._report(trainer)
            self._start_interval()

    def _report(self, trainer: Trainer) -> None:
        """Write down the means over the steps since the last report, and over all processes."""
        seconds = self._waited + self._worked
        system = {
            "bursts_per_second": len(self._results) * trainer.bursts.per_step / seconds,
            "data_wait": self._waited / seconds,
            "memory_gib": memory_used(torch.device("cpu")).resident / 2**30,
        }
        found = trainer.ranks.gather([(_means([result.values for result in self._results if result.finite]), system)])
        values, system = (_means(entries) for entries in zip(*found, strict=True))
        rates = {group["name"]: group["lr"] for group in trainer.step.optimizer.param_groups}
        offsets = self._offsets(trainer)
        iteration = trainer.progress.iteration
        entries = [f"lr {rates['network']:.3g}", *(f"{name} {value:.5g}" for name, value in values.items())]
        entries += [f"offset {max(offsets.values(), default=0):.3g}", *(f"{k} {v:.3g}" for k, v in system.items())]
        logger.info("iteration %d: %s", iteration, ", ".join(entries))
        system["skipped"] = trainer.progress.skipped
        for kind, numbers in {"train": values, "rate": rates, "offset": offsets, "system": system}.items():
            trainer.publish({f"{kind}/{name}": value for name, value in numbers.items()})

    def _offsets(self, trainer: Trainer) -> dict[str, float]:
        """Mean offset of each deformable layer in the latest step, in pixels of its map; large ones are warned of."""
        means = {name: layer.mean_offset for name, layer in deformable_layers(trainer.restorer.network).items()}
        offsets = {name: mean.item() for name, mean in means.items() if isinstance(mean, Tensor)}
        for name, offset in offsets.items():
            if offset > trainer.step.patches.size / 2:
                message = (
                    "iteration %d: %s: the mean offset is %.0f pixels, more than half a patch: the training has "
                    "probably collapsed (go back to an older checkpoint with a lower train.optimizer.deform_lr)"
                )
                logger.warning(message, trainer.progress.iteration, name, offset)
        return offsets

    def on_validation(self, trainer: Trainer, qualities: Sequence[ClipQuality], folder: Path) -> None:
        """Write down a validation."""
        iteration = trainer.progress.iteration
        means = _means([quality.measures for quality in qualities])
        entries = [f"{display_name(name)} {value:.4f}" for name, value in means.items() if name != "psnr"]
        logger.info("iteration %d: validation %s", iteration, ", ".join([f"PSNR {means['psnr']:.3f} dB", *entries]))
        clips: dict[str, list[float]] = {}
        for quality in qualities:
            clips.setdefault(f"val_psnr/{quality.clip}", []).append(quality.measures["psnr"])
        of_clips = {name: statistics.fmean(values) for name, values in sorted(clips.items())}
        trainer.publish({f"val/{name}": value for name, value in means.items()} | of_clips)


def _means(entries: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each value over the entries that have it, in the order of the last entry."""
    return {
        name: statistics.fmean(entry[name] for entry in entries if name in entry)
        for name in (entries[-1] if entries else {})
    }


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
