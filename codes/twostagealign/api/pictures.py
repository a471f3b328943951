"""Quality of pictures."""

import numpy as np
import torch
from torch import Tensor

from twostagealign import metrics


def psnr(image: np.ndarray | Tensor, target: np.ndarray | Tensor) -> float:
    """Compute the peak signal-to-noise ratio of a picture.

    Args:
        image: picture, (height, width, 3), uint8 or floats on the scale [0, 1].
        target: ground truth, (height, width, 3), uint8 or floats on the scale [0, 1].

    Returns:
        PSNR in dB over all pixels and channels; infinite for equal pictures.

    Raises:
        ValueError: an argument is not as above, or the shapes differ.

    Example:
        >>> round(psnr(np.full((8, 8, 3), 0.6), np.full((8, 8, 3), 0.5)), 4)
        20.0
    """
    return metrics.psnr(_image("image", image), _image("target", target))


def ssim(image: np.ndarray | Tensor, target: np.ndarray | Tensor) -> float:
    """Compute the structural similarity of a picture, averaged over pixels and channels.

    Args:
        image: picture, (height, width, 3), at least 11 x 11 pixels, uint8 or floats on the scale [0, 1].
        target: ground truth, (height, width, 3), uint8 or floats on the scale [0, 1].

    Returns:
        SSIM, at most 1.

    Raises:
        ValueError: an argument is not as above, or the shapes differ.
    """
    return metrics.ssim(_image("image", image), _image("target", target))


def _image(name: str, value: np.ndarray | Tensor) -> Tensor:
    """Picture (3, height, width) on the scale [0, 1], float64."""
    tensor = torch.as_tensor(np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value))
    if tensor.ndim != 3 or tensor.shape[2] != 3:
        raise ValueError(f"{name}: found shape {tuple(tensor.shape)}, expected (height, width, 3)")
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise ValueError(f"{name}: found {str(tensor.dtype).removeprefix('torch.')}, expected uint8 or floats")
    picture = tensor.permute(2, 0, 1).double()
    return picture / 255 if tensor.dtype == torch.uint8 else picture
