"""Dense alignment: neighbours are brought to the reference frame to fractions of a pixel."""

import torch
from torch import Tensor
from torch.nn import functional as F

from twostagealign.merging.average import TINY, UNKNOWN, box_mean

BLOCK = 4
"""Side of the blocks that have a displacement each, raw pixels."""
WINDOWS = (27, 9, 3)
"""Sides of the windows that are compared around a block, blocks, from the largest to the smallest."""
RADIUS = 2
"""Largest whole displacement, raw pixels."""
PENALTY = 0.6
"""Cost of a displacement per pixel, times the side of the window in raw pixels. The cost that noise alone explains is
1."""
SIGNIFICANT = 1.0
"""Least gain of a smaller window that changes the displacement, times the side of the window in raw pixels. On the same
scale, noise gives the cost at the right displacement a standard deviation of sqrt(2)."""


def align_to_reference(lq: Tensor, noise_map: Tensor) -> tuple[Tensor, Tensor]:
    """Bring the neighbours of roughly aligned bursts to the reference frame, pixel by pixel.

    Args:
        lq: noisy raw planes, (B, N, 4, H, W), aligned to about `RADIUS` pixels; the reference frame is N // 2.
        noise_map: standard deviation of the noise of every value, the shape of `lq`; from `UNKNOWN` on, a value is
            unknown.

    Returns:
        `lq` and `noise_map`, displaced, in the dtypes given. The reference frame stays as it is. The noise of displaced
        values is smaller, as its map says, and neighbouring values share some of it. A pixel that takes part in an
        unknown one is unknown.
    """
    if lq.shape[1] == 1:
        return lq, noise_map
    precise = torch.promote_types(lq.dtype, torch.float32)
    values, variances = lq.to(precise), noise_map.to(precise).square()
    moved, moved_variances = displace(values, variances, find_displacements(values, variances))
    moved, moved_map = moved.to(lq.dtype), moved_variances.sqrt_().to(noise_map.dtype)
    own = slice(lq.shape[1] // 2, lq.shape[1] // 2 + 1)
    moved[:, own], moved_map[:, own] = lq[:, own], noise_map[:, own]
    return moved, moved_map


def find_displacements(lq: Tensor, variances: Tensor) -> Tensor:
    """Find where every pixel of the reference frame lies in the frames.

    Windows of grey raw pixels are compared at all whole displacements of up to `RADIUS` pixels, first large ones, in
    which noise hides little, then smaller ones, which follow the motion more closely. A smaller window changes the
    displacement only where it fits better by more than noise explains: the best of many displacements of a small window
    is often the one whose noise is like that of the reference. The costs beside the least one give the fraction of a
    pixel. The displacements of the blocks are interpolated linearly.

    Args:
        lq: noisy raw planes, (B, N, 4, H, W), float32; the reference frame is N // 2.
        variances: variance of the noise of every value, the shape of `lq`. Unknown pixels, and those near them, are not
            compared.

    Returns:
        Displacements [y, x], raw pixels, (B, N, 2, H, W): what lies at a position in the reference frame lies at
        position + displacement in the frame.
    """
    number, (height, width) = lq.shape[1], lq.shape[-2:]
    grey = lq.mean(dim=2)
    own = grey[:, number // 2, None]
    noise = variances.mean(dim=2) / 4
    side = 2 * RADIUS + 1
    # All displacements are compared on the same pixels: those that are known at every one of them.
    known = 1 - F.max_pool2d(_unknown(variances), side, 1, RADIUS)
    # Beyond the border of a frame, patches may be filled with zeros, and so are their noise maps.
    explained = _blocks((noise + noise[:, number // 2, None]) * known).unsqueeze(2)
    around = F.pad(grey, [RADIUS] * 4, mode="replicate")
    places = [(y, x) for y in range(side) for x in range(side)]
    differences = torch.stack(
        [_blocks((around[..., y : y + height, x : x + width] - own).square_().mul_(known)) for y, x in places], dim=-1
    ).movedim(-1, 2)  # (B, N, K, h, w), in channels_last, which is several times as fast below
    steps = torch.arange(-RADIUS, RADIUS + 1, dtype=grey.dtype, device=grey.device)
    lengths = (steps[:, None] ** 2 + steps**2).sqrt().reshape(-1, 1, 1)

    displacements = torch.zeros_like(differences[:, :, :2])
    for blocks in WINDOWS:
        pixels = blocks * BLOCK
        costs = _windows(differences, blocks) / _windows(explained, blocks).clamp_min_(TINY)
        costs += PENALTY / pixels * lengths
        found, gain = _compare(costs, displacements)
        displacements = torch.where(gain > SIGNIFICANT / pixels, found, displacements)
    smooth = F.interpolate(displacements.flatten(0, 1), scale_factor=BLOCK, mode="bilinear")
    return smooth[..., :height, :width].unflatten(0, lq.shape[:2])


def _compare(costs: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Find the displacements of least cost, to fractions of a pixel, and how much less they cost than the present ones.

    Args:
        costs: costs of all whole displacements, row by row, (B, N, K, h, w).
        present: displacements to compare with, (B, N, 2, h, w).

    Returns:
        Displacements, (B, N, 2, h, w), and differences of costs, (B, N, 1, h, w).
    """
    side = 2 * RADIUS + 1
    best = costs.argmin(dim=2, keepdim=True)
    least = costs.gather(2, best)
    axes, gain = [], torch.zeros_like(least)
    for axis, (place, step) in enumerate(((best // side, side), (best % side, 1))):
        before, after = (costs.gather(2, (best + away).clamp(0, side**2 - 1)) for away in (-step, step))
        # Costs near the minimum form a parabola where the content is smooth, and two straight lines at edges. The
        # formulas for the minimum of the two differ in the denominator. Both occur, so their mean is used.
        bend = before + after - 2 * least
        fraction = (before - after) / (bend + torch.maximum(before, after) - least).clamp_min(1e-6)
        inside = (place > 0) & (place < side - 1)
        axes.append(place - RADIUS + fraction.clamp(-0.5, 0.5) * inside)
        distance = (axes[-1] - present[:, :, axis, None]).clamp(-1, 1)
        gain += inside * bend.clamp_min(0) / 2 * distance.square()
    near = present.round().long() + RADIUS
    gain_of_whole = costs.gather(2, near[:, :, :1] * side + near[:, :, 1:]) - least
    return torch.cat(axes, dim=2), torch.maximum(gain, gain_of_whole)


def displace(lq: Tensor, variances: Tensor, displacements: Tensor) -> tuple[Tensor, Tensor]:
    """Sample frames at displaced positions, linearly between pixels.

    Args:
        lq: raw planes, (B, N, 4, H, W), float32.
        variances: variance of the noise of every value, the shape of `lq`.
        displacements: displacements [y, x], raw pixels, (B, N, 2, H, W). Beyond the border, frames repeat it.

    Returns:
        Displaced planes, and the variances of their noise.
    """
    height, width = lq.shape[-2:]
    y = torch.arange(height, device=lq.device)[:, None] + displacements[:, :, 0]
    x = torch.arange(width, device=lq.device) + displacements[:, :, 1]
    grid = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1).flatten(0, 1)
    maps = torch.cat((lq, variances, _unknown(variances).unsqueeze(2)), dim=2).flatten(0, 1)
    sampled = F.grid_sample(maps, grid.to(lq.dtype), padding_mode="border", align_corners=False)
    moved, moved_variances, unknown = sampled.unflatten(0, lq.shape[:2]).split((4, 4, 1), dim=2)
    # The mean of two values, a and 1 - a of each, has a^2 + (1 - a)^2 times their variance.
    fraction = displacements - displacements.floor()
    kept = (fraction.square() + (1 - fraction).square()).prod(dim=2, keepdim=True)
    return moved, torch.where(unknown > 0, UNKNOWN**2, moved_variances * kept)


def _unknown(variances: Tensor) -> Tensor:
    """Whether pixels are unknown in any plane, (B, N, 4, H, W) -> (B, N, H, W), 0 or 1."""
    return (variances >= UNKNOWN**2).any(dim=2).to(variances.dtype)


def _windows(maps: Tensor, blocks: int) -> Tensor:
    """Means of windows of `blocks` x `blocks` blocks, of their part inside the map, (B, N, K, h, w)."""
    return box_mean(maps.flatten(0, 1), blocks).unflatten(0, maps.shape[:2])


def _blocks(maps: Tensor) -> Tensor:
    """Means of blocks, (B, N, H, W) -> (B, N, H / BLOCK, W / BLOCK), rounded up."""
    return F.avg_pool2d(maps, BLOCK, ceil_mode=True)
