"""Coloured blotches: errors of colour at low frequencies in even areas."""

import cv2
import numpy as np
from torch import Tensor

from twostagealign.metrics.images import to_arrays

EVEN = 0.25
"""Share of the picture that counts as even: where the ground truth varies least."""
REACH = 8.0
"""Standard deviation of the Gaussian window in which the ground truth varies, pixels."""
BLUR = 3.0
"""Standard deviation of the Gaussian blur that leaves low frequencies, pixels."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of R, G, B in luma (ITU-R BT.601)."""


def chroma_error(image: Tensor, target: Tensor) -> float:
    """Measure coloured blotches: errors of R - Y and B - Y, blurred, in the evenest quarter of the picture.

    Args:
        image: restored sRGB, (3, H, W), in [0, 1].
        target: ground truth, same shape.

    Returns:
        Root mean square error, in 8-bit levels; 0 for equal pictures, and for pictures that differ in brightness only.

    Raises:
        ValueError: the shapes differ or are not (3, H, W).

    Example:
        >>> import torch
        >>> grey = torch.full((3, 32, 32), 0.5)
        >>> chroma_error(grey + 0.1, grey) < 1e-4
        True
    """
    restored, truth = to_arrays(image, target)
    luma = np.tensordot(LUMA, truth, 1)
    variation = _blur(luma**2, REACH) - _blur(luma, REACH) ** 2
    even = variation <= np.quantile(variation, EVEN)
    error = restored - truth
    chroma = error[[0, 2]] - np.tensordot(LUMA, error, 1)
    squares = [(_blur(plane, BLUR)[even] ** 2).mean() for plane in chroma]
    return 255 * float(np.sqrt(np.mean(squares)))


def _blur(plane: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
