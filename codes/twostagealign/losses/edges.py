"""Edge strength of a picture, the weight of the interpolation branch's loss."""

import math

import torch.nn.functional as F
from torch import Tensor

# Gaussian with 5 taps, standard deviation 1 pixel, sum 1.
_TAPS = [math.exp(-(i**2) / 2) for i in range(-2, 3)]
_GAUSSIAN = [tap / sum(_TAPS) for tap in _TAPS]


def edge_map(target: Tensor) -> Tensor:
    """Compute the edge strength of a picture.

    It is the absolute difference between the grey picture and its blur (5 x 5 Gaussian, sigma 1, zeros beyond the
    border), blurred in the same way and stretched to [0, 1].

    Args:
        target: RGB, (B, 3, H, W), in [0, 1].

    Returns:
        Edge strength in [0, 1], each picture stretched separately, (B, 3, H, W) with equal channels; 0 for a black
        picture.

    Raises:
        ValueError: the shape is not (B, 3, H, W).

    Source:
        Guo et al., CVPR 2022, training loss.
    """
    if target.ndim != 4 or target.shape[1] != 3:
        raise ValueError(f"target: found shape {tuple(target.shape)}, expected (B, 3, height, width)")
    red, green, blue = target.split(1, dim=1)
    grey = 0.2989 * red + 0.5870 * green + 0.1140 * blue
    edges = _blur((grey - _blur(grey)).abs())
    low, high = edges.amin((1, 2, 3), keepdim=True), edges.amax((1, 2, 3), keepdim=True)
    return ((edges - low) / (high - low + 1e-6)).expand_as(target)


def _blur(image: Tensor) -> Tensor:
    """Blur (B, 1, H, W) by products and sums: TF32 or autocast would lower the precision of a convolution."""
    gaussian = image.new_tensor(_GAUSSIAN)
    rows = (F.pad(image, (0, 0, 2, 2)).unfold(2, 5, 1) * gaussian).sum(dim=-1)
    return (F.pad(rows, (2, 2, 0, 0)).unfold(3, 5, 1) * gaussian).sum(dim=-1)
