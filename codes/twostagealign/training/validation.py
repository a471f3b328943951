"""Distributed validation during training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from twostagealign.data import ClipInMemory, NoiseLevel, TrainingSet, read_burst, write_picture
from twostagealign.data.clips.clip import LEAST_SIDE
from twostagealign.isp import demosaic
from twostagealign.matching import Search
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure, to_uint8
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import Ranks


@dataclass(frozen=True)
class ClipQuality:
    """Agreement of a burst's restored reference frame with its ground truth.

    Attributes:
        index: index of the burst in the data set.
        clip: name of the clip or picture that the burst is from.
        psnr: PSNR, dB.
        ssim: SSIM.
    """

    index: int
    clip: str
    psnr: float
    ssim: float


def validate(
    restorer: TwoStageRestorer,
    bursts: TrainingSet,
    noise: NoiseLevel,
    tiling: Tiling,
    folder: Path,
    pictures: int,
    ranks: Ranks,
    stopped: Callable[[], object],
) -> list[ClipQuality]:
    """Restore bursts by the test protocol and measure them, each on one of the processes.

    Args:
        restorer: the networks, in evaluation mode.
        bursts: data set of clean bursts.
        noise: noise level.
        tiling: tiling of the restoration.
        folder: folder for pictures of the first bursts: noisy reference, restored and ground truth side by side.
        pictures: number of bursts that are drawn.
        ranks: the processes.
        stopped: asked before each burst; once it is true, the other bursts are left out.

    Returns:
        The quality of each burst's reference frame, in the order of the bursts, on all processes.
    """
    device = next(restorer.parameters()).device
    found = []
    for index in tqdm(
        ranks.share(range(len(bursts))),
        desc="validation",
        unit="burst",
        leave=False,
        dynamic_ncols=True,
        disable=ranks.rank > 0,
    ):
        if stopped():
            break
        clip = ClipInMemory(bursts.clip(index), bursts[index].to(device), noise)
        burst = read_burst(clip, clip.references)
        restored = restore_frame(restorer, burst, tiling).image
        developed, target = develop(restored, burst.camera), develop(burst.target(), burst.camera)
        quality = measure(developed, target)
        found.append(ClipQuality(index, bursts.clip(index), quality.psnr, quality.ssim))
        if index < pictures:
            noisy = develop(demosaic(burst.reference.raw()), burst.camera)
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(folder / f"{index:03d}.png", to_uint8(torch.cat([noisy, developed, target], dim=2)))
    return sorted(ranks.gather(found), key=lambda quality: quality.index)


def check_measurable(bursts: TrainingSet) -> None:
    """Check that the frames of a validation set can be measured.

    Args:
        bursts: data set of clean bursts, all of one size.

    Raises:
        UserError: the frames are smaller than the window of SSIM.
    """
    height, width = bursts[0].shape[-2:]
    if min(height, width) < LEAST_SIDE:
        raise UserError(
            f"datasets.val: frames of {width}x{height} pixels are too small to measure; "
            f"use at least {LEAST_SIDE}x{LEAST_SIDE}"
        )


@dataclass(frozen=True)
class Validation:
    """A validation set, and how it is restored; call it to validate.

    Attributes:
        bursts: data set of clean bursts; see `validate`.
        noise: noise level.
        search: where patches are searched.
        pictures: number of bursts that are drawn.
    """

    bursts: TrainingSet
    noise: NoiseLevel
    search: Search
    pictures: int

    def __call__(
        self, restorer: TwoStageRestorer, folder: Path, ranks: Ranks, stopped: Callable[[], object]
    ) -> list[ClipQuality]:
        """Validate a restorer; see `validate`."""
        restorer = restorer.with_matcher(replace(restorer.matcher, search=self.search))
        return validate(restorer, self.bursts, self.noise, Tiling(), folder, self.pictures, ranks, stopped)
