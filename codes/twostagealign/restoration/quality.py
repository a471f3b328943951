"""How good restored pictures are, and what they look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from twostagealign.isp import Camera, process, tone_curve
from twostagealign.metrics import psnr, ssim


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
