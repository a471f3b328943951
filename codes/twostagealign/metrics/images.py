"""Checks and conversion of images, shared by the metrics."""

import numpy as np
import torch
from torch import Tensor


def check_images(image: Tensor, target: Tensor) -> None:
    """Check the shapes of two images.

    Args:
        image: (3, H, W).
        target: same shape.

    Raises:
        ValueError: the shapes differ or are not (3, H, W).
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image: found shape {tuple(image.shape)}, expected (3, height, width)")
    if target.shape != image.shape:
        raise ValueError(f"target: found shape {tuple(target.shape)}, expected {tuple(image.shape)}")


def to_arrays(image: Tensor, target: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Check two images and convert them to double precision.

    Args:
        image: (3, H, W), any device and dtype.
        target: same shape.

    Returns:
        Both as arrays, (3, H, W), float64.

    Raises:
        ValueError: the shapes differ or are not (3, H, W).
    """
    check_images(image, target)
    restored, truth = (tensor.detach().cpu().to(torch.float64).numpy() for tensor in (image, target))
    return restored, truth
