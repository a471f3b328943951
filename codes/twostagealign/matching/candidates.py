"""Candidate positions of a search: square grids around where it starts."""

import torch
from torch import Tensor


def square_grid(starts: Tensor, radius: int, step: int, inclusive: bool = True) -> Tensor:
    """List the candidates around starting positions.

    Args:
        starts: positions [y, x], (..., 2), int64.
        radius: largest offset along each axis, pixels.
        step: spacing of the candidates, pixels.
        inclusive: False leaves out the offset `radius` itself.

    Returns:
        Positions at the offsets -radius, -radius + step, ..., radius, (..., K, 2), in raster order.
    """
    offsets = torch.arange(-radius, radius + inclusive, step, device=starts.device)
    return starts.unsqueeze(-2) + torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), -1).flatten(0, 1)


def lie_inside(candidates: Tensor, size: int, maps: Tensor) -> Tensor:
    """Tell which windows of side `size` at candidates (..., 2) lie wholly inside maps (B, N, H, W, C): (...), bool."""
    y, x = candidates.unbind(-1)
    height, width = maps.shape[2:4]
    return (y >= 0) & (x >= 0) & (y <= height - size) & (x <= width - size)


def best_candidates(candidates: Tensor, distances: Tensor) -> Tensor:
    """Choose of candidates (..., K, 2) those of the least distances (..., K): (..., 2), the first among equals."""
    # argmin promises the first among equals, which is the first in raster order.
    index = distances.argmin(-1)[..., None, None]
    return candidates.take_along_dim(index, -2).squeeze(-2)
