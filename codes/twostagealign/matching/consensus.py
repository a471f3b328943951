"""Agreement of neighbouring patches: where noise hides what a patch shows, it goes where its neighbours go."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

ROUNDS = 2
"""How often patches look at their neighbours. Each time, an offset can spread by one patch."""
ALIKE = 2
"""Offsets that differ by at most so many raw pixels along each axis are alike."""
DOUBT = 3.0
"""The mean absolute difference of n pixels that differ by noise alone has a relative deviation of 0.76 / sqrt(n). What
is larger than another by at most four times that is no worse."""
_FAR = -(2**20)
"""Stands for an offset beyond the grid: it is far from all others."""


@torch.no_grad()
def follow_neighbours(
    distances: Callable[[Tensor], Tensor],
    origins: Tensor,
    positions: Tensor,
    columns: int,
    size: int,
    sides: Tensor,
) -> Tensor:
    """Replace the offset of a patch by one that more of the patches around it have, where that fits as well.

    A patch that shows little but noise, or that has left the frame in part, is found anywhere. A patch that shows an
    object which moves by itself differs clearly at the offsets of its neighbours, and keeps its own.

    Args:
        distances: compares the reference windows with those at positions (B, P, N, 2): mean absolute differences of
            the pixels that are known in both, (B, P, N); infinite where less than half of them are known.
        origins: top-left corners [y, x] of the windows in the reference frame, (B, P, 2), int64: a grid, row by row.
        positions: positions found, (B, P, N, 2), int64; the reference frame is N // 2.
        columns: columns of the grid.
        size: side of a window.
        sides: height and width of a frame, (2,).

    Returns:
        Positions, some of which are others. Where nothing can be compared, those of the neighbours count.
    """
    own, distance = positions - origins.unsqueeze(2), distances(positions)
    for _ in range(ROUNDS):
        theirs, more = _most_frequent(own, columns)
        its_distance = distances(origins.unsqueeze(2) + theirs)
        area = _overlap(origins, theirs, size, sides)
        fits = its_distance <= distance * (1 + DOUBT / area.clamp_min(1).sqrt())
        follows = more & (fits | its_distance.isinf())
        own = torch.where(follows.unsqueeze(-1), theirs, own)
        distance = torch.where(follows, its_distance, distance)
    return origins.unsqueeze(2) + own


def _most_frequent(offsets: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Choose an offset for each patch among those around it: that to which most of them are alike.

    Returns:
        The offsets, (B, P, N, 2), and whether they are alike to more than the patch's own, (B, P, N).
    """
    batch, _, number, _ = offsets.shape
    grid = offsets.unflatten(1, (-1, columns)).permute(0, 3, 4, 1, 2).flatten(1, 2)  # (B, N * 2, rows, columns)
    around = F.pad(grid, (1, 1, 1, 1), value=_FAR)
    rows = grid.shape[2]
    places = [(1, 1)] + [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]  # its own is the first
    nine = torch.stack([around[..., y : y + rows, x : x + columns] for y, x in places])
    nine = nine.unflatten(2, (number, 2))  # (9, B, N, 2, rows, columns)
    votes = torch.stack([((nine - each).abs().amax(3) <= ALIKE).sum(0) for each in nine])
    votes = votes.masked_fill(nine[:, :, :, 0] == _FAR, 0)
    best = votes.argmax(0, keepdim=True)  # the first among equals
    chosen = nine.take_along_dim(best.unsqueeze(3), 0).squeeze(0).permute(0, 3, 4, 1, 2)
    more = (votes.amax(0) > votes[0]).permute(0, 2, 3, 1)
    return chosen.reshape(batch, -1, number, 2), more.reshape(batch, -1, number)


def _overlap(origins: Tensor, offsets: Tensor, size: int, sides: Tensor) -> Tensor:
    """Count, for each window, the pixels that are inside the frame both before and after it is displaced, (B, P, N)."""
    start = torch.maximum(origins.unsqueeze(2), -offsets).clamp_min(0)
    end = torch.minimum(torch.minimum(origins.unsqueeze(2) + size, sides - offsets), sides)
    return (end - start).clamp_min(0).prod(-1)
