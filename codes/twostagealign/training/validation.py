"""Distributed validation during training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from tqdm import tqdm

from twostagealign.data import ClipInMemory, NoiseLevel, TrainingSet, read_burst, write_picture
from twostagealign.isp import demosaic
from twostagealign.matching import Search
from twostagealign.metrics import NamedMetric, finite_psnr, ssim
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, to_uint8
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.ranks import Ranks


@dataclass(frozen=True)
class ClipQuality:
    """Agreement of a burst's restored reference frame with its ground truth.

    Attributes:
        index: index of the burst in the data set.
        clip: name of the clip or picture that the burst is from.
        measures: value of each metric; PSNR, in dB, is one of them.
    """

    index: int
    clip: str
    measures: dict[str, float]


@dataclass(frozen=True)
class Validation:
    """A validation set and how it is restored; call it to validate.

    Attributes:
        bursts: data set of clean bursts.
        noise: noise level of the test protocol.
        search: where patches are searched.
        pictures: number of bursts that are drawn.
        tiling: tiling of the restoration.
        metrics: what is measured.
    """

    bursts: TrainingSet
    noise: NoiseLevel
    search: Search
    pictures: int = 0
    tiling: Tiling = field(default_factory=Tiling)
    metrics: Sequence[NamedMetric] = (NamedMetric("psnr", finite_psnr), NamedMetric("ssim", ssim))

    def __call__(
        self,
        restorer: TwoStageRestorer,
        folder: Path,
        ranks: Ranks | None = None,
        stopped: Callable[[], object] = lambda: False,
    ) -> list[ClipQuality]:
        """Restore the bursts by the test protocol and measure them, each on one of the processes.

        Args:
            restorer: the networks, in evaluation mode; its own search is not used.
            folder: folder for pictures of the first bursts: noisy reference, restored and ground truth side by side.
            ranks: the processes; None: this one alone.
            stopped: asked before each burst; once it is true, the other bursts are left out.

        Returns:
            The quality of each burst's reference frame, in the order of the bursts, on all processes.
        """
        ranks = ranks or Ranks()
        restorer = restorer.with_matcher(replace(restorer.matcher, search=self.search))
        device = next(restorer.parameters()).device
        found = []
        indices = ranks.share(range(len(self.bursts)))
        quiet = ranks.rank > 0
        for index in tqdm(indices, "validation", unit="burst", leave=False, dynamic_ncols=True, disable=quiet):
            if stopped():
                break
            clip = ClipInMemory(self.bursts.clip(index), self.bursts[index].to(device), self.noise)
            burst = read_burst(clip, clip.references)
            restored = restore_frame(restorer, burst, self.tiling).image
            developed, target = develop(restored, burst.camera), develop(burst.target(), burst.camera)
            measures = {metric.name: metric.measure(developed, target) for metric in self.metrics}
            known = {name: value for name, value in measures.items() if value is not None}
            found.append(ClipQuality(index, clip.name, known))
            if index < self.pictures:
                noisy = develop(demosaic(burst.reference.raw()), burst.camera)
                folder.mkdir(parents=True, exist_ok=True)
                write_picture(folder / f"{index:03d}.png", to_uint8(torch.cat([noisy, developed, target], dim=2)))
        return sorted(ranks.gather(found), key=lambda quality: quality.index)
