"""Windows cut from feature maps, and how much candidate windows differ from a reference window."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# How many numbers of candidate windows are held at once: few enough for the cache of a CPU, enough to keep a GPU busy.
# It bounds the memory (a column of candidates is the least that is held) and never changes a result.
CPU_CHUNK_ELEMENTS = 2**19
GPU_CHUNK_ELEMENTS = 2**25


def channels_last(maps: Tensor) -> Tensor:
    """(B, N, C, H, W) -> (B, N, H, W, C): a row of a window, channels and all, is then one run of memory."""
    return maps.movedim(2, -1).contiguous()


def window_distances(
    maps: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int
) -> Tensor:
    """Mean absolute difference between the reference windows and their candidates, a square grid of spacing `step`.

    Maps (B, N, H, W, C), candidates (B, P, len(frames), K, 2) -> (B, P, len(frames), K); meaningless for candidates
    that reach over the border.
    """
    args = (maps, origins, frames, candidates, size, step)
    return _compare(*args, lambda windows, reference: (windows - reference).abs_()) / (size**2 * maps.shape[-1])


def window_costs(
    maps: Tensor, sums: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int
) -> Tensor:
    """What puts candidates in the order of `window_distances` in less time, where only their order matters.

    |a - b| = 2 max(a, b) - a - b: one operation per element instead of two, the sums of the windows are known, and that
    of the reference window is the same for all. `sums` are of `window_sums`, the rest is as for `window_distances`.
    """
    image = _image_index(maps, frames).unsqueeze(-1)
    y, x = (candidates[..., i].clamp(0, sums.shape[i + 1] - 1) for i in range(2))
    return _compare(maps, origins, frames, candidates, size, step, torch.maximum) - sums[image, y, x] / 2


def window_sums(features: Tensor, size: int) -> Tensor:
    """Sum of every window of (B, N, C, H, W), by its corner, (B * N, H - size + 1, W - size + 1)."""
    # An integral image; in float64, whose rounding is below that of the windows' values.
    integral = F.pad(features.flatten(0, 1).sum(1).double().cumsum(1).cumsum(2), (1, 0, 1, 0))
    rows = integral[:, size:] - integral[:, :-size]
    return (rows[:, :, size:] - rows[:, :, :-size]).to(features.dtype)


def _compare(
    maps: Tensor,
    origins: Tensor,
    frames: Sequence[int],
    candidates: Tensor,
    size: int,
    step: int,
    combine: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """Sum what `combine` makes of the elements of candidates and reference windows; see `window_distances`."""
    images, corners, count = candidate_grids(maps, frames, candidates)
    own = cut_squares(maps, [maps.shape[1] // 2], origins.unsqueeze(2), size).flatten(0, 2)
    patch = torch.arange(len(own), device=maps.device).repeat_interleave(len(frames))
    # Filled in place: results allocated between the chunks would keep the allocator from reusing the chunks' memory.
    results = maps.new_empty(len(images), count, count)
    for chunk in chunks(images, count * size**2 * maps.shape[-1]):
        reference = own.index_select(0, patch[chunk]).unsqueeze(1)
        for i, windows in enumerate(window_columns(maps, images[chunk], corners[chunk], count, size, step)):
            results[chunk, :, i] = combine(windows, reference).flatten(2).sum(-1)
    return results.reshape(candidates.shape[:-1])


def candidate_grids(maps: Tensor, frames: Sequence[int], candidates: Tensor) -> tuple[Tensor, Tensor, int]:
    """Describe square grids of candidates, (B, P, len(frames), K, 2).

    Returns for each of all R grids its image among the B * N, (R,), and its first candidate, (R, 2); and how many
    candidates a row and a column have.
    """
    corners = candidates[..., 0, :]
    images = _image_index(maps, frames).expand(corners.shape[:-1])
    return images.flatten(), corners.flatten(0, -2), round(candidates.shape[3] ** 0.5)


def chunks(grids: Tensor, elements: int) -> Iterator[slice]:
    """Slices of `grids` that stay within the budget of their device, given the elements of a column of candidates."""
    budget = CPU_CHUNK_ELEMENTS if grids.device.type == "cpu" else GPU_CHUNK_ELEMENTS
    length = max(budget // elements, 1)
    for start in range(0, len(grids), length):
        yield slice(start, start + length)


def window_columns(maps: Tensor, images: Tensor, corners: Tensor, count: int, size: int, step: int) -> Iterator[Tensor]:
    """Windows of the columns of R grids of candidates, one column (R, count, size, size, C) after the other.

    They are views of one region per grid, which is cut once. Candidates that lie below one another are in the order of
    their memory, and so is what is computed from them: rows of candidates would have to be copied.
    """
    reach = size + step * (count - 1)
    regions = _cut(maps, images, corners, reach, reach)
    for left in range(0, count * step, step):
        yield regions[:, :, left : left + size].unfold(1, size, step).movedim(-1, 2)


def cut_squares(maps: Tensor, frames: Sequence[int], positions: Tensor, size: int) -> Tensor:
    """Squares of maps (B, N, H, W, C) at (B, P, len(frames), 2) -> (B, P, len(frames), size, size, C)."""
    images = _image_index(maps, frames).expand(positions.shape[:-1])
    squares = _cut(maps, images.flatten(), positions.flatten(0, -2), size, size)
    return squares.unflatten(0, positions.shape[:-1])


def _image_index(maps: Tensor, frames: Sequence[int]) -> Tensor:
    """Index among all B * N images, (B, 1, len(frames))."""
    batch, frame_number = maps.shape[:2]
    bursts = frame_number * torch.arange(batch, device=maps.device)
    return bursts[:, None, None] + torch.tensor(list(frames), device=maps.device)


def _cut(maps: Tensor, images: Tensor, corners: Tensor, height: int, width: int) -> Tensor:
    """Rectangles of maps (B, N, H, W, C), one per image index (R,) and corner (R, 2) -> (R, height, width, C).

    Beyond the border of the map, its border pixels are repeated.
    """
    map_height, map_width, channels = maps.shape[2:]
    y = (corners[:, :1] + torch.arange(height, device=maps.device)).clamp(0, map_height - 1)
    x = (corners[:, 1:] + torch.arange(width, device=maps.device)).clamp(0, map_width - 1)
    pixels = (images[:, None, None] * map_height + y[:, :, None]) * map_width + x[:, None, :]
    return maps.reshape(-1, channels).index_select(0, pixels.flatten()).unflatten(0, pixels.shape)
