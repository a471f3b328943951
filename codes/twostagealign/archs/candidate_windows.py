"""Windows cut from feature maps, and how much candidate windows differ from a reference window."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

# How many numbers of candidate windows are held at once: few enough for the cache of a CPU, enough to keep a GPU busy.
# It bounds the memory (a column of candidates is the least that is held) and never changes a result.
CPU_CHUNK_ELEMENTS = 2**20
GPU_CHUNK_ELEMENTS = 2**25

# Up to this share of the candidates it takes less time to cut them out one by one than to compare all of them.
_FEW = 0.5


def channels_last(maps: Tensor) -> Tensor:
    """(B, N, C, H, W) -> (B, N, H, W, C): a row of a window, channels and all, is then one run of memory."""
    return maps.movedim(2, -1).contiguous()


def window_distances(
    maps: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int, every: int = 1
) -> Tensor:
    """Mean absolute difference between the reference windows and their candidates, a square grid of spacing `step`.

    Maps (B, N, H, W, C), candidates (B, P, len(frames), K, 2) -> (B, P, len(frames), K); meaningless for candidates
    that reach over the border. `every`: compare only one pixel in `every`, of one row in `every`.
    """
    images, corners, count = candidate_grids(maps, frames, candidates)
    own = cut_squares(maps, [maps.shape[1] // 2], origins.unsqueeze(2), size).flatten(0, 2)[:, ::every, ::every]
    patch = torch.arange(len(own), device=maps.device).repeat_interleave(len(frames))
    # Filled in place: results allocated between the chunks would keep the allocator from reusing the chunks' memory.
    results = maps.new_empty(len(images), count, count)
    region = (size + step * (count - 1)) ** 2 * maps.shape[-1]
    for chunk in chunks(images, max(count * own[0].numel(), region)):
        reference = own.index_select(0, patch[chunk]).unsqueeze(1)
        for i, windows in enumerate(window_columns(maps, images[chunk], corners[chunk], count, size, step, every)):
            results[chunk, :, i] = (windows - reference).abs_().flatten(3).sum(-1).sum(-1)
    return results.reshape(candidates.shape[:-1]).div_(own[0].numel())


def least_distances(
    maps: Tensor,
    blocks: Tensor,
    origins: Tensor,
    frames: Sequence[int],
    candidates: Tensor,
    valid: Tensor,
    size: int,
    step: int,
) -> Tensor:
    """What `window_distances` finds, but infinity for candidates that are not valid or certainly not the nearest.

    Successive elimination: the means of two windows' blocks never differ more than the windows themselves. So the
    blocks are compared first, at a fraction of the cost, and only what may still be nearer than the window whose blocks
    are nearest is compared in full. `blocks` are of `block_means`, and so is their side, `every`.

    Source:
        Li and Salari, "Successive elimination algorithm for motion estimation", IEEE TIP 1995.
    """
    every = block_side(size)
    used = size - size % every
    bounds = window_distances(blocks, origins, frames, candidates, used, step, every) * (used / size) ** 2
    bounds = bounds.masked_fill(~valid, torch.inf)
    nearest = F.one_hot(bounds.argmin(-1), bounds.shape[-1]).bool()
    distance = _chosen_distances(maps, origins, frames, candidates, size, nearest).amin(-1, keepdim=True)
    # Rounding must not eliminate an equal of the nearest one: the first in raster order has to win. Nor does what is
    # not a number eliminate anything: one valid candidate has to be left.
    possible = valid & ~(bounds > distance * (1 + 1e-4))
    if possible.float().mean() < _FEW:
        return _chosen_distances(maps, origins, frames, candidates, size, possible)
    return window_distances(maps, origins, frames, candidates, size, step).masked_fill(~possible, torch.inf)


def block_side(size: int) -> int:
    """Side of the blocks that windows of `size` are divided into, such that few pixels are left over."""
    return min((4, 3), key=lambda side: size % side) if size > 4 else size


def block_means(maps: Tensor, size: int) -> Tensor:
    """Mean of every block of maps (B, N, H, W, C), by its corner, for `least_distances` with windows of `size`."""
    side = block_side(size)
    for dim in (2, 3):
        length = maps.shape[dim] - side + 1
        total = maps.narrow(dim, 0, length).clone()
        for i in range(1, side):
            total += maps.narrow(dim, i, length)
        maps = total
    return maps.div_(side**2)


def _chosen_distances(
    maps: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, chosen: Tensor
) -> Tensor:
    """`window_distances` of the `chosen` candidates (B, P, len(frames), K), infinity elsewhere.

    None of those chosen may reach over the border.
    """
    height, width, channels = maps.shape[2:]
    own = cut_squares(maps, [maps.shape[1] // 2], origins.unsqueeze(2), size).flatten(0, 2).flatten(1)
    patches = torch.arange(len(own), device=maps.device).reshape(*origins.shape[:2], 1, 1).expand(chosen.shape)[chosen]
    images = _image_index(maps, frames).unsqueeze(-1).expand(chosen.shape)[chosen]
    y, x = candidates[chosen].unbind(-1)
    # A row of a window is one run of memory.
    runs = maps.reshape(-1).unfold(0, size * channels, channels)
    rows = ((images * height + y) * width + x).unsqueeze(1) + width * torch.arange(size, device=maps.device)
    distances = maps.new_empty(len(rows))
    for chunk in chunks(rows, own[0].numel()):
        windows = runs.index_select(0, rows[chunk].flatten()).reshape(-1, own.shape[1])
        distances[chunk] = windows.sub_(own.index_select(0, patches[chunk])).abs_().sum(-1)
    return maps.new_full(chosen.shape, torch.inf).masked_scatter_(chosen, distances / own.shape[1])


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


def window_columns(
    maps: Tensor, images: Tensor, corners: Tensor, count: int, size: int, step: int, every: int = 1
) -> Iterator[Tensor]:
    """Windows of the columns of R grids of candidates, one column (R, count, size, size, C) after the other.

    They are views of one region per grid, which is cut once. Candidates that lie below one another are in the order of
    their memory, and so is what is computed from them: rows of candidates would have to be copied. `every` thins the
    windows out, as in `window_distances`; their sides are then shorter.
    """
    reach = size + step * (count - 1)
    regions = _cut(maps, images, corners, reach, reach)
    # What is used of a row lies side by side.
    phases = [regions[:, :, phase::every].contiguous() for phase in range(every)]
    width = -(-size // every)
    for offset in range(0, count * step, step):
        columns = phases[offset % every].narrow(2, offset // every, width)
        yield columns.unfold(1, size, step)[..., ::every].movedim(-1, 2)


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
