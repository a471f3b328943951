"""Where a picture has edges: the weight of the interpolation branch's loss."""

import math

import torch.nn.functional as F
from torch import Tensor

# Gaussian of 5 taps, standard deviation of 1 pixel, sum 1.
_TAPS = [math.exp(-(i**2) / 2) for i in range(-2, 3)]
_GAUSSIAN = [tap / sum(_TAPS) for tap in _TAPS]


def edge_map(target: Tensor) -> Tensor:
    """Compute how strong the edges of a picture are.

    The absolute difference between the picture in grey and its blur (5 x 5 Gaussian, sigma 1, zeros beyond the
    border), blurred in the same way and stretched to [0, 1].

    Args:
        target: RGB, (B, 3, H, W), in [0, 1].

    Returns:
        Edge strength in [0, 1], every picture stretched by itself, (B, 3, H, W) with equal channels; 0 for a picture of
        zeros.

    Raises:
        ValueError: if the shape is not (B, 3, H, W).

    Source:
        Guo et al., CVPR 2022, training loss.
    """
    if target.ndim != 4 or target.shape[1] != 3:
        raise ValueError(f"target: shape {tuple(target.shape)} found, (B, 3, height, width) expected")
    red, green, blue = target.split(1, dim=1)
    grey = 0.2989 * red + 0.5870 * green + 0.1140 * blue
    edges = _blur((grey - _blur(grey)).abs())
    low, high = edges.amin((1, 2, 3), keepdim=True), edges.amax((1, 2, 3), keepdim=True)
    return ((edges - low) / (high - low + 1e-6)).expand_as(target)


def _blur(image: Tensor) -> Tensor:
    """Blur (B, 1, H, W) with products and sums: a convolution would lose precision to TF32 or autocast."""
    gaussian = image.new_tensor(_GAUSSIAN)
    rows = (F.pad(image, (0, 0, 2, 2)).unfold(2, 5, 1) * gaussian).sum(dim=-1)
    return (F.pad(rows, (2, 2, 0, 0)).unfold(3, 5, 1) * gaussian).sum(dim=-1)
