"""Refinement of matches: from the grid of the feature maps to single pixels of the raw planes."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from twostagealign.matching.candidate_windows import channels_last, overlap_distances, window_distances
from twostagealign.matching.candidates import best_candidates, lie_inside, square_grid
from twostagealign.matching.consensus import follow_neighbours

PIXEL_SEARCHES = ((4, 2), (1, 1))
"""Radius and step of the searches of `refine_match`, which reach over one pixel of the features."""
BEYOND_SEARCHES = ((16, 4), *PIXEL_SEARCHES)
"""Radius and step of the searches of `refine_beyond`."""


@torch.no_grad()
def refine_match(planes: Tensor, origins: Tensor, positions: Tensor, size: int) -> Tensor:
    """Refine positions that were found on small feature maps to the pixel of the planes.

    Each frame is searched by itself, up to five pixels away, in two steps. Not part of the paper, whose windows lie
    within two pixels at best: the second stage has to find these in noise, pixel by pixel, which a window tells easily.

    Args:
        planes: planes to compare, on the grid of the raw planes, (B, N, C, H, W), any float dtype; the reference frame
            is N // 2.
        origins: top-left corners [y, x] of the windows in the reference frame, (B, P, 2), int64, pixels of `planes`.
        positions: positions found so far, (B, P, N, 2), int64; none of them reaches over the border.
        size: side of a window.

    Returns:
        The refined positions; in the reference frame they stay.
    """
    maps = channels_last(planes.to(torch.promote_types(planes.dtype, torch.float32)))

    def distances(frames: list[int], candidates: Tensor, step: int) -> Tensor:
        compared = window_distances(maps, origins, frames, candidates, size, step)
        return compared.masked_fill(~lie_inside(candidates, size, maps), torch.inf)

    return _search_on(distances, positions, PIXEL_SEARCHES)


@torch.no_grad()
def refine_beyond(planes: Tensor, origins: Tensor, positions: Tensor, size: int, columns: int | None = None) -> Tensor:
    """Refine positions as `refine_match` does, farther, and also beyond the border of the frames.

    What is at the border of the reference frame has often left the others in part. Windows are compared where both are
    known; a candidate of which less than half as much is known as of the reference window does not count.

    Args:
        planes: whole frames, on the grid of the raw planes, (B, N, 1, H, W).
        origins: as in `refine_match`, but they may reach over the border.
        positions: as in `refine_match`, but they may reach over the border.
        size: side of a window.
        columns: if the windows are a grid, row by row, the number of its columns. They then follow their neighbours;
            see `follow_neighbours`.

    Returns:
        The refined positions, which may reach over the border.
    """
    sides = torch.tensor(planes.shape[-2:], device=planes.device)
    places, reach = torch.cat((origins.unsqueeze(2), positions), dim=2), sum(radius for radius, _ in BEYOND_SEARCHES)
    before = (reach - places.amin((0, 1, 2))).clamp_min(0)
    after = (places.amax((0, 1, 2)) + size + reach - sides).clamp_min(0)
    # Filled in place: copies of whole frames would take several times the memory.
    (top, left), (height, width) = before.tolist(), (sides + before + after).tolist()
    dtype = torch.promote_types(planes.dtype, torch.float32)
    rectangle = (slice(None), slice(None), slice(top, top + planes.shape[-2]), slice(left, left + planes.shape[-1]))
    maps = torch.zeros(*planes.shape[:2], height, width, 1, dtype=dtype, device=planes.device)
    maps[rectangle] = planes.movedim(2, -1)
    known = torch.zeros(planes.shape[0], 1, height, width, 1, dtype=dtype, device=planes.device)
    known[rectangle] = 1
    origins = origins + before

    def distances(frames: list[int], candidates: Tensor, step: int) -> Tensor:
        compared = candidates.new_empty(candidates.shape[:-1], dtype=dtype)
        corners = torch.cat((origins.unsqueeze(2), candidates.flatten(2, 3)), dim=2)
        inside = lie_inside(corners - before, size, planes.movedim(2, -1)).all(-1).all(0)
        for some, mask in ((inside, None), (~inside, known)):  # most windows are known as a whole
            if some.any():
                args = (origins[:, some], frames, candidates[:, some], size, step)
                compared[:, some] = overlap_distances(maps, mask, *args)
        return compared

    found = _search_on(distances, positions + before, BEYOND_SEARCHES) - before
    if columns is None:
        return found

    def compare(places: Tensor) -> Tensor:
        """Distances at single positions. What is farther outside than the maps reach is not known at all."""
        all_frames = list(range(planes.shape[1]))
        inside = (places + before).clamp(torch.zeros_like(sides), sides + before + after - size)
        compared = distances(all_frames, inside.unsqueeze(3), 1).squeeze(-1)
        return compared.masked_fill((inside != places + before).any(-1), torch.inf)

    return follow_neighbours(compare, origins - before, found, columns, size, sides)


def _search_on(
    distances: Callable[[list[int], Tensor, int], Tensor], positions: Tensor, searches: Sequence[tuple[int, int]]
) -> Tensor:
    """Search around `positions` (B, P, N, 2) in every frame but the reference; stay where nothing counts.

    `distances` takes the frames, candidates (B, P, len(frames), K, 2), and their spacing, and returns infinity for
    those that do not count.
    """
    number = positions.shape[2]
    frames = [frame for frame in range(number) if frame != number // 2]
    if not frames:
        return positions
    found = positions[:, :, frames]
    for radius, step in searches:
        candidates = square_grid(found, radius, step)
        compared = distances(frames, candidates, step)
        found = torch.where(compared.isfinite().any(-1, keepdim=True), best_candidates(candidates, compared), found)
    before, after = found.split((number // 2, len(frames) - number // 2), dim=2)
    return torch.cat((before, positions[:, :, number // 2, None], after), dim=2)
