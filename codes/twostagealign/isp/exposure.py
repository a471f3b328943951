"""Ratio of the exposures of two raw frames, from their samples."""

import math
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.isp.sharpness import WELL_EXPOSED

_SIDE = 64  # longest side of an overview
_REACH = 8  # largest displacement along an axis, pixels of an overview
_VISIBLE = 5.0  # least signal of a pixel of an overview, in standard deviations of its noise
_LEAST_PIXELS = 16
_EQUAL = 1.2  # ratio up to which exposures count as equal: brackets differ by 1/3 EV or more, light and scene by less
_LARGEST_SPREAD = 0.25  # largest median deviation of log(ratio) over the pixels


def overview_block(size: tuple[int, int]) -> int:
    """Side of the blocks that a frame of this height and width is averaged over, to at most 64 of them on a side."""
    return math.ceil(max(size) / _SIDE)


def overview(planes: Tensor, noise: Tensor, block: int) -> Tensor:
    """Average a raw frame, or rows of it, to a small grey picture.

    Args:
        planes: raw planes, (4, H, W), in [0, 1].
        noise: standard deviation of the noise of every sample, (4, H, W).
        block: side of the blocks; see `overview_block`.

    Returns:
        Means of blocks, (h, w), float32. NaN where a sample of the block is clipped or the signal is not above the
        noise.
    """
    clipped = (planes.amax(dim=0) >= WELL_EXPOSED).float()
    parts = torch.stack((planes.mean(dim=0), noise.square().mean(dim=0), clipped))
    mean, variance, clipped = F.avg_pool2d(parts[None], block, ceil_mode=True)[0]
    deviation = (variance / (len(planes) * block**2)).sqrt()
    return mean.masked_fill((clipped > 0) | (mean <= _VISIBLE * deviation), torch.nan)


def exposure_ratio(reference: Tensor, other: Tensor) -> float | None:
    """Estimate how much more a frame is exposed than another one: the ratio of their medians after alignment.

    The frames are displaced so that the ratios of their pixels differ least from each other.

    Args:
        reference: `overview` of one frame, (h, w).
        other: `overview` of the other frame, (h, w).

    Returns:
        Exposure of `other` over that of `reference`, 1 if they are about equal; None if too few pixels are well exposed
        in both frames, or these do not agree on a ratio.
    """
    height, width = reference.shape
    reach_y, reach_x = (min(_REACH, side // 4) for side in (height, width))
    least = max(_LEAST_PIXELS, min(int((~part.isnan()).sum()) for part in (reference, other)) // 2)
    best_spread, best_ratio = math.inf, math.nan
    for y, x in product(range(-reach_y, reach_y + 1), range(-reach_x, reach_x + 1)):
        here = reference[max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)]
        there = other[max(y, 0) : height - max(-y, 0), max(x, 0) : width - max(-x, 0)]
        known = ~(here.isnan() | there.isnan())
        here, there = here[known], there[known]
        if len(here) < least:
            continue
        ratios = (there / here).log()
        spread = (ratios - ratios.median()).abs().median().item()
        if spread < best_spread:
            best_spread, best_ratio = spread, (there.median() / here.median()).item()
    if 1 / _EQUAL < best_ratio < _EQUAL:
        return 1.0
    return best_ratio if best_spread <= _LARGEST_SPREAD else None
