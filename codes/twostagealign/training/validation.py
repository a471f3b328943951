"""Validation in the course of a training, shared out over its processes."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from twostagealign.data import degrade_by_protocol, write_picture
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
    noise: tuple[float, float],
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
        noise: shot and read noise.
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
        frames = bursts[index].to(device)
        burst = degrade_by_protocol(frames, *noise, list(range(1, len(frames) + 1)))
        restored = restore_frame(restorer, burst.burst(), tiling).image
        developed, target = develop(restored, burst.camera), develop(burst.target[0], burst.camera)
        quality = measure(developed, target)
        found.append(ClipQuality(index, bursts.clip(index), quality.psnr, quality.ssim))
        if index < pictures:
            noisy = develop(demosaic(burst.lq[0, len(frames) // 2]), burst.camera)
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(folder / f"{index:03d}.png", picture(torch.cat([noisy, developed, target], dim=2)))
    return sorted(ranks.gather(found), key=lambda quality: quality.index)
