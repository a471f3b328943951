"""Validation in the course of a training, shared out over its processes."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from twostagealign.data import ClipInMemory, NoiseLevel, read_burst, write_picture
from twostagealign.isp import demosaic
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure, picture
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.ranks import Ranks


@dataclass(frozen=True)
class ClipQuality:
    """Agreement of a burst's restored reference frame with its ground truth.

    Attributes:
        index: of the burst in the data set.
        clip: that it is from.
        psnr: dB.
        ssim: of the same pictures.
    """

    index: int
    clip: str
    psnr: float
    ssim: float


def validate(
    restorer: TwoStageRestorer,
    bursts: Sized,
    noise: NoiseLevel,
    tiling: Tiling,
    folder: Path,
    pictures: int,
    ranks: Ranks,
    stopped: Callable[[], object],
) -> list[ClipQuality]:
    """Restore bursts by the test protocol and measure them, each on one of the processes.

    Args:
        restorer: in evaluation mode.
        bursts: data set of clean uint8 frames, (N, 3, 2H, 2W) each, with a method `clip(index)`, their origin.
        noise: noise level.
        tiling: of the restoration.
        folder: where the first pictures go, each as noisy reference, restored and ground truth side by side.
        pictures: how many.
        ranks: the processes.
        stopped: asked before each burst; the rest is left out if it says so.

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
            write_picture(folder / f"{index:03d}.png", picture(torch.cat([noisy, developed, target], dim=2)))
    return sorted(ranks.gather(found), key=lambda quality: quality.index)
