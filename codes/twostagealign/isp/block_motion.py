"""Whole-pixel motion of blocks between two frames, for statistics on aligned frames."""

import torch
import torch.nn.functional as F
from torch import Tensor

_LEVELS, _REACH = 4, 3  # of the pyramid, and steps of the search at each level: 45 pixels in all


def align_blocks(frame: Tensor, other: Tensor, block: int = 16) -> Tensor:
    """Align a frame with another one, block by block.

    Blocks are compared after averaging over 3 x 3 pixels of all planes. The finest detail, which this leaves out, has
    noise of its own, so the choice of the best match does not make the noise of aligned blocks look smaller.

    Args:
        frame: planes that stay, (C, H, W), floating point, at least one block.
        other: planes that are aligned, (C, H, W).
        block: side of a block.

    Returns:
        `other`, aligned with the upper left part of `frame` that consists of whole blocks, (C, h, w).
    """
    pyramid = [torch.stack([frame.mean(dim=0), other.mean(dim=0)])]
    while len(pyramid) < _LEVELS and min(pyramid[-1].shape[1:]) >= 2 * block:
        pyramid.append(F.avg_pool2d(pyramid[-1][None], 2)[0])
    motion = torch.zeros(2, 1, 1, dtype=torch.long)
    for level in reversed(pyramid):
        rows, columns = (side // block for side in level.shape[1:])
        # A block of the level above covers four of this one; the last row and column may have none above them.
        motion = (2 * motion).repeat_interleave(2, 1).repeat_interleave(2, 2)
        motion = motion[:, torch.arange(rows).clamp_max(motion.shape[1] - 1)]
        motion = motion[:, :, torch.arange(columns).clamp_max(motion.shape[2] - 1)]
        smooth, smooth_other = F.avg_pool2d(level[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
        motion = _search(smooth, smooth_other, motion, block)
    return _gather(other, motion, block)


def _search(frame: Tensor, other: Tensor, motion: Tensor, block: int) -> Tensor:
    """Improve the motion of blocks, (2, rows, columns), by the best of all steps."""
    wanted = _gather(frame[None], torch.zeros_like(motion), block)
    steps = torch.cartesian_prod(torch.arange(-_REACH, _REACH + 1), torch.arange(-_REACH, _REACH + 1))
    steps = steps[steps.abs().sum(dim=1).argsort(stable=True)]  # of equal ones, the smallest
    errors = [
        F.avg_pool2d((_gather(other[None], motion + step[:, None, None], block) - wanted).square(), block)[0]
        for step in steps
    ]
    return motion + steps[torch.stack(errors).argmin(dim=0)].permute(2, 0, 1)


def _gather(planes: Tensor, motion: Tensor, block: int) -> Tensor:
    """Take every block from where its motion leads, (C, rows * block, columns * block); borders are repeated."""
    height, width = planes.shape[-2:]
    moved = motion.repeat_interleave(block, 1).repeat_interleave(block, 2)
    y = (torch.arange(moved.shape[1])[:, None] + moved[0]).clamp_(0, height - 1)
    x = (torch.arange(moved.shape[2]) + moved[1]).clamp_(0, width - 1)
    return planes[:, y, x]
