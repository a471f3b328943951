"""Development, quality and details of restored pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from twostagealign.isp import Camera, process, tone_curve
from twostagealign.metrics import chroma_error, finite_psnr, ssim, texture_correlation, texture_ratio


@dataclass(frozen=True)
class Quality:
    """Agreement of a picture with its ground truth in sRGB: PSNR in dB, see `finite_psnr`, and SSIM."""

    psnr: float
    ssim: float


@dataclass(frozen=True)
class Look:
    """What PSNR hardly sees: coloured blotches in even areas, and fine texture; see `metrics`.

    Attributes:
        chroma_error: error of colour at low frequencies in even areas, 8-bit levels.
        texture_ratio: energy of fine texture as a share of the ground truth's.
        texture_correlation: correlation of fine texture with the ground truth's.
    """

    chroma_error: float
    texture_ratio: float
    texture_correlation: float


def develop(linear: Tensor, camera: Camera) -> Tensor:
    """Develop linear camera RGB: sRGB in [0, 1], (3, h, w), float32, on the CPU.

    Args:
        linear: linear camera RGB of one burst, (3, h, w), on any device, in any float dtype.
        camera: colour metadata, a batch of one.
    """
    return process(linear.float().cpu()[None], camera.to(device="cpu"))[0]


def measure(srgb: Tensor, target: Tensor) -> Quality:
    """Measure a picture by the test protocol, whose factor of 255 changes neither number.

    Args:
        srgb: developed picture, (3, h, w), in [0, 1].
        target: developed ground truth, (3, h, w), in [0, 1].
    """
    return Quality(finite_psnr(srgb, target), ssim(srgb, target))


def measure_look(srgb: Tensor, target: Tensor) -> Look:
    """Measure blotches and fine texture of a picture; arguments as for `measure`."""
    return Look(chroma_error(srgb, target), texture_ratio(srgb, target), texture_correlation(srgb, target))


def to_uint8(srgb: Tensor) -> np.ndarray:
    """Convert a developed picture in [0, 1], (3, h, w), to 8 bits with the tone curve, (h, w, 3)."""
    return tone_curve(srgb).mul(255).round().byte().permute(1, 2, 0).numpy()


def find_detail(picture: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    """Find the window with the strongest gradients.

    Args:
        picture: RGB, (height, width, 3) uint8.
        size: height and width of the window.

    Returns:
        y and x of its top left corner; 0 along a side where the picture is not larger than the window.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    # On a smaller picture, whose gradients come from structures, not from single pixels.
    quarter = (max(grey.shape[1] // 4, 1), max(grey.shape[0] // 4, 1))
    small = cv2.resize(grey, quarter, interpolation=cv2.INTER_AREA).astype(np.float32)
    strength = np.hypot(cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1))
    height, width = (max(min(side // 4, whole), 1) for side, whole in zip(size, small.shape, strict=True))
    sums = cv2.integral(strength)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    row, column = np.unravel_index(np.argmax(inside), inside.shape)
    places = zip((row, column), picture.shape, size, strict=False)
    y, x = (int(min(4 * place, max(whole - side, 0))) for place, whole, side in places)
    return y, x
