"""Fine texture: how much of it a picture has, and whether it is that of the ground truth."""

import cv2
import numpy as np
from torch import Tensor

from twostagealign.metrics.images import to_arrays

BLUR = 1.5
"""Standard deviation of the Gaussian blur that takes high frequencies away, pixels."""
REACH = 4.0
"""Standard deviation of the Gaussian window in which their energy is measured, pixels."""
TEXTURED = (0.25, 0.75)
"""Quantiles of that energy between which the ground truth has fine texture: no even areas, no strong edges."""


def texture_ratio(image: Tensor, target: Tensor) -> float:
    """Measure the energy of high frequencies of luma, as a share of the ground truth's, where it has fine texture.

    Args:
        image: restored sRGB, (3, H, W), in [0, 1].
        target: ground truth, same shape.

    Returns:
        Ratio of energies: 1 as in the ground truth, less for waxy pictures, more for noisy ones.

    Raises:
        ValueError: the shapes differ or are not (3, H, W).
    """
    restored, truth = _fine_texture(image, target)
    return float((restored @ restored) / max(truth @ truth, np.finfo(float).tiny))


def texture_correlation(image: Tensor, target: Tensor) -> float:
    """Measure how much high frequencies of luma are those of the ground truth, where it has fine texture.

    Args:
        image: restored sRGB, (3, H, W), in [0, 1].
        target: ground truth, same shape.

    Returns:
        Correlation in [-1, 1]; 1 for equal pictures, 0 if the picture has none.

    Raises:
        ValueError: the shapes differ or are not (3, H, W).
    """
    restored, truth = _fine_texture(image, target)
    return float((restored @ truth) / max(np.sqrt((restored @ restored) * (truth @ truth)), np.finfo(float).tiny))


def _fine_texture(image: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """High frequencies of both pictures, where the ground truth has fine texture."""
    restored, truth = (_high_frequencies(array) for array in to_arrays(image, target))
    energy = cv2.GaussianBlur(truth**2, (0, 0), REACH, borderType=cv2.BORDER_REFLECT)
    least, most = np.quantile(energy, TEXTURED)
    textured = (energy >= least) & (energy <= most)
    return restored[textured], truth[textured]


def _high_frequencies(picture: np.ndarray) -> np.ndarray:
    luma = np.tensordot([0.2989, 0.5870, 0.1140], picture, 1)
    return luma - cv2.GaussianBlur(luma, (0, 0), BLUR, borderType=cv2.BORDER_REFLECT)
