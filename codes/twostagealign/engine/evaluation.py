"""How good restored pictures are, and what they look like."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from twostagealign.data import degrade_by_protocol, write_picture
from twostagealign.engine.tiling import Tiling, restore_frame
from twostagealign.isp import Camera, demosaic, process, tone_curve
from twostagealign.metrics import psnr, ssim
from twostagealign.models import TwoStageRestorer


@dataclass(frozen=True)
class Quality:
    """Agreement of a picture with its ground truth in sRGB: PSNR in dB and SSIM."""

    psnr: float
    ssim: float


def develop(linear: Tensor, camera: Camera) -> Tensor:
    """Linear camera RGB (3, h, w) of one burst to sRGB (3, h, w) in [0, 1], on the CPU in float32."""
    return process(linear.float().cpu()[None], camera.to(device="cpu"))[0]


def measure(srgb: Tensor, target: Tensor) -> Quality:
    """Compare two developed pictures, (3, h, w), by the test protocol, whose factor of 255 changes neither number."""
    return Quality(psnr(srgb, target), ssim(srgb, target))


def picture(srgb: Tensor) -> np.ndarray:
    """Developed picture (3, h, w) to 8 bits for the eye, (h, w, 3), with the tone curve."""
    return tone_curve(srgb).mul(255).round().byte().permute(1, 2, 0).numpy()


def validate(
    restorer: TwoStageRestorer,
    bursts: Sized,
    noise: tuple[float, float],
    tiling: Tiling,
    folder: Path,
    pictures: int,
) -> list[Quality]:
    """Restore bursts by the test protocol and measure them.

    Args:
        restorer: in evaluation mode.
        bursts: dataset of clean uint8 frames, (N, 3, 2H, 2W) each.
        noise: shot and read noise.
        tiling: of the restoration.
        folder: where the first pictures go, each as noisy reference, restored and ground truth side by side.
        pictures: how many.

    Returns:
        The quality of each burst's reference frame.
    """
    device = next(restorer.parameters()).device
    results = []
    for index in tqdm(range(len(bursts)), desc="validation", unit="burst", leave=False, dynamic_ncols=True):
        frames = bursts[index].to(device)
        burst = degrade_by_protocol(frames, *noise, list(range(1, len(frames) + 1)))
        restored = restore_frame(restorer, burst.lq[0], burst.noise_map[0], tiling).image
        developed, target = develop(restored, burst.camera), develop(burst.target[0], burst.camera)
        results.append(measure(developed, target))
        if index < pictures:
            noisy = develop(demosaic(burst.lq[0, len(frames) // 2]), burst.camera)
            folder.mkdir(parents=True, exist_ok=True)
            write_picture(folder / f"{index:03d}.png", picture(torch.cat([noisy, developed, target], dim=2)))
    return results
