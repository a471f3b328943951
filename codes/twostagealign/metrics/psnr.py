"""Peak signal-to-noise ratio."""

import numpy as np
from torch import Tensor

from twostagealign.metrics.images import to_arrays

HIGHEST_PSNR = 100.0
"""PSNR of equal pictures in results, dB. With infinity, one black frame would make every mean infinite."""


def psnr(image: Tensor, target: Tensor, data_range: float = 1.0) -> float:
    """Compute the peak signal-to-noise ratio over all pixels and channels, border included.

    Args:
        image: restored sRGB, (3, H, W), used without rounding or clamping.
        target: ground truth, same shape.
        data_range: largest possible value minus smallest: 1.0, or 255.0 for images in [0, 255].

    Returns:
        PSNR in dB; infinite for equal images.

    Raises:
        ValueError: the shapes differ or are not (3, H, W).

    Example:
        >>> import torch
        >>> round(psnr(torch.full((3, 8, 8), 0.6), torch.full((3, 8, 8), 0.5)), 4)
        20.0
    """
    # scikit-image's function computes the same, but imports scipy.stats, which takes 60 MB.
    restored, truth = to_arrays(image, target)
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(data_range**2 / np.mean((truth - restored) ** 2)))


def finite_psnr(image: Tensor, target: Tensor) -> float:
    """Compute `psnr` of pictures in [0, 1], at most `HIGHEST_PSNR`."""
    return min(psnr(image, target), HIGHEST_PSNR)
