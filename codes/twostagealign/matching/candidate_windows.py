"""Cutting windows from feature maps, and distances between reference and candidate windows."""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from twostagealign.matching.candidates import lie_inside

# Values of candidate windows held at a time: fits into a CPU's cache, and keeps a GPU busy. This bounds memory (at
# least one column of candidates is held) and does not affect results.
CPU_CHUNK_ELEMENTS = 2**20
GPU_CHUNK_ELEMENTS = 2**25

# If at most this share of the candidates remains, cutting them one by one is faster than comparing all of them.
_FEW = 0.5


def channels_last(maps: Tensor) -> Tensor:
    """(B, N, C, H, W) -> (B, N, H, W, C): one row of a window, with all channels, is then contiguous."""
    return maps.movedim(2, -1).contiguous()


def window_distances(
    maps: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int
) -> Tensor:
    """Mean absolute difference between reference windows and their candidates, a square grid of spacing `step`.

    Maps (B, N, H, W, C), candidates (B, P, len(frames), K, 2) -> (B, P, len(frames), K); undefined for candidates that
    extend beyond the border.
    """
    differences = _row_differences(maps, origins, frames, candidates, size, step)
    return differences.sum(-1).div_(size**2 * maps.shape[-1])


def _row_differences(
    maps: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int, every: int = 1
) -> Tensor:
    """Sum of absolute differences in each row of the windows of `window_distances`, (B, P, len(frames), K, rows).

    Only every `every`-th pixel of every `every`-th row is compared.
    """
    results = _empty_results(maps, candidates, -(-size // every))
    for place, windows, reference in _columns(maps, origins, frames, candidates, size, step, every):
        results[place] = (windows - reference).abs_().flatten(3).sum(-1)
    return results.reshape(*candidates.shape[:-1], -1)


def overlap_distances(
    maps: Tensor, known: Tensor | None, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int
) -> Tensor:
    """`window_distances` over the pixels known in both windows.

    Maps (B, N, H, W, 1) are zero where `known` (B, 1, H, W, 1) is; elsewhere, `known` is 1. None: all that is compared
    is known. The distance is infinite if less than half of the reference window's known pixels is known in the
    candidate.
    """
    results = _empty_results(maps, candidates)
    compared = _columns(maps, origins, frames, candidates, size, step)
    if known is None:
        for place, windows, reference in compared:
            results[place] = (windows - reference).abs_().flatten(2).sum(-1).div_(size**2)
        return results.reshape(candidates.shape[:-1])
    masks = _columns(known, origins, [0] * len(frames), candidates, size, step)
    for (place, windows, reference), (_, mask, its_mask) in zip(compared, masks, strict=True):
        both = mask * its_mask
        area, least = both.flatten(2).sum(-1), its_mask.flatten(2).sum(-1) / 2
        difference = (windows - reference).abs_().mul_(both).flatten(2).sum(-1)
        results[place] = torch.where(area < least, torch.inf, difference / area)
    return results.reshape(candidates.shape[:-1])


def _empty_results(maps: Tensor, candidates: Tensor, *each: int) -> Tensor:
    """Empty results for what `_columns` compares: (R, count, count, *each).

    They are filled in place: results allocated between chunks would keep the allocator from reusing memory.
    """
    count = math.isqrt(candidates.shape[3])
    return maps.new_empty(candidates.shape[:3].numel(), count, count, *each)


def _columns(
    maps: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int, every: int = 1
) -> Iterator[tuple[tuple[slice, slice, int], Tensor, Tensor]]:
    """Columns of the R = B * P * len(frames) candidate grids, each with its reference windows.

    Yields a column's index into (R, count, count), its windows (r, count, rows, columns, C), and the reference windows
    (r, 1, rows, columns, C). See `window_columns` for `every`.
    """
    images, corners, count = candidate_grids(maps, frames, candidates)
    own = cut_squares(maps, [maps.shape[1] // 2], origins.unsqueeze(2), size).flatten(0, 2)[:, ::every, ::every]
    patch = torch.arange(len(own), device=maps.device).repeat_interleave(len(frames))
    region = ((size + step * (count - 1)) // math.gcd(step, every)) ** 2 * maps.shape[-1]
    for chunk in chunks(images, max(count * own[0].numel(), region)):
        reference = own.index_select(0, patch[chunk]).unsqueeze(1)
        for i, windows in enumerate(window_columns(maps, images[chunk], corners[chunk], count, size, step, every)):
            yield (chunk, slice(None), i), windows, reference


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
    """`window_distances`, but infinite for candidates that are invalid or cannot be the nearest.

    Successive elimination: the block means of two windows never differ more than the windows themselves. Block means
    are compared first, at a fraction of the cost. The candidate with the nearest block means is then compared in full,
    and after it only candidates that may still be nearer, a few rows at a time. `blocks` come from `block_means`.

    Source:
        Li and Salari, "Successive elimination algorithm for motion estimation", IEEE TIP 1995.
    """
    every = block_side(size)
    used = size - size % every
    bounds = _row_differences(blocks, origins, frames, candidates, used, step, every).mul_(every**2)
    whole = bounds.sum(-1).masked_fill_(~valid, torch.inf)
    nearest = F.one_hot(whole.argmin(-1), whole.shape[-1]).bool()
    least = _chosen_distances(maps, origins, frames, candidates, size, nearest).amin(-1, keepdim=True)
    # Rounding must not eliminate candidates as near as the nearest: the first in raster order wins. NaNs eliminate
    # nothing, so that one valid candidate remains.
    least *= size**2 * maps.shape[-1] * (1 + 1e-4)
    possible = valid & ~(whole > least)
    if possible.float().mean() < _FEW:
        return _chosen_distances(maps, origins, frames, candidates, size, possible, bounds, least)
    return window_distances(maps, origins, frames, candidates, size, step).masked_fill(~possible, torch.inf)


def block_side(size: int) -> int:
    """Side of the blocks that windows of `size` are divided into: the one that leaves fewer pixels over."""
    return min((4, 3), key=lambda side: size % side) if size > 4 else size


def block_means(maps: Tensor, size: int) -> Tensor:
    """Mean of every block of maps (B, N, H, W, C), indexed by its corner, for `least_distances` with `size`."""
    side = block_side(size)
    batch, frames, height, width, channels = maps.shape
    means = maps.new_empty(batch, frames, height - side + 1, width - side + 1, channels)
    for image, mean in zip(maps.flatten(0, 1), means.flatten(0, 1), strict=True):
        # One image at a time fits into the caches.
        mean.copy_(_sums(_sums(image, 0, side), 1, side)).div_(side**2)
    return means


def _sums(image: Tensor, dim: int, count: int) -> Tensor:
    """Sum of `count` neighbours along `dim`."""
    if count == 1:
        return image
    half = _sums(image, dim, count // 2)
    length = image.shape[dim] - count + 1
    total = half.narrow(dim, 0, length) + half.narrow(dim, count // 2, length)
    return total.add_(image.narrow(dim, count - 1, length)) if count % 2 else total


def _chosen_distances(
    maps: Tensor,
    origins: Tensor,
    frames: Sequence[int],
    candidates: Tensor,
    size: int,
    chosen: Tensor,
    bounds: Tensor | None = None,
    limits: Tensor | None = None,
) -> Tensor:
    """`window_distances` of the `chosen` candidates (B, P, len(frames), K), infinite elsewhere.

    Chosen candidates must not extend beyond the border. `bounds` (B, P, len(frames), K, rows) are lower bounds of what
    each row of blocks adds to the sum of differences. With them, candidates whose sum exceeds `limits`
    (B, P, len(frames), 1) are infinite too.
    """
    height, width, channels = maps.shape[2:]
    own = cut_squares(maps, [maps.shape[1] // 2], origins.unsqueeze(2), size).flatten(0, 2).flatten(2)
    patches = torch.arange(len(own), device=maps.device).reshape(*origins.shape[:2], 1, 1).expand(chosen.shape)[chosen]
    images = _image_index(maps, frames).unsqueeze(-1).expand(chosen.shape)[chosen]
    y, x = candidates[chosen].unbind(-1)
    # A row of a window is contiguous.
    runs = maps.reshape(-1).unfold(0, size * channels, channels)
    starts = (images * height + y) * width + x
    sums = maps.new_zeros(len(starts))
    left = torch.arange(len(starts), device=maps.device)  # candidates that may still be the nearest

    def add(rows: range) -> None:
        """Compare some rows of the candidates left."""
        part = own[:, rows.start : rows.stop].flatten(1)
        lines = width * torch.arange(rows.start, rows.stop, device=maps.device)
        for chunk in chunks(left, part.shape[1]):
            some = left[chunk]
            windows = runs.index_select(0, (starts[some].unsqueeze(1) + lines).flatten()).reshape(len(some), -1)
            sums[some] += windows.sub_(part.index_select(0, patches[some])).abs_().sum(-1)

    if bounds is None or limits is None:
        add(range(size))
    else:
        limit = limits.expand(chosen.shape)[chosen]
        unseen = bounds[chosen].flip(-1).cumsum(-1).flip(-1)  # bound on what this row and those below add
        every, blocks = block_side(size), unseen.shape[-1]
        first = 0
        for last in sorted({blocks // 4, blocks // 2} - {0}):
            add(range(every * first, every * last))
            left = left[~(sums[left] + unseen[left, last] > limit[left])]
            first = last
        add(range(every * first, size))
    distances = torch.full_like(sums, torch.inf)
    distances[left] = sums[left] / own[0].numel()
    return maps.new_full(chosen.shape, torch.inf).masked_scatter_(chosen, distances)


def candidate_grids(maps: Tensor, frames: Sequence[int], candidates: Tensor) -> tuple[Tensor, Tensor, int]:
    """Describe R square grids of candidates, (B, P, len(frames), K, 2).

    Returns each grid's image index, out of B * N, (R,); each grid's first candidate, (R, 2); and the number of
    candidates per row and column.
    """
    corners = candidates[..., 0, :]
    images = _image_index(maps, frames).expand(corners.shape[:-1])
    return images.flatten(), corners.flatten(0, -2), round(candidates.shape[3] ** 0.5)


def chunks(grids: Tensor, elements: int) -> Iterator[slice]:
    """Slices of `grids` within the memory budget of their device; a column of candidates has `elements` values."""
    budget = CPU_CHUNK_ELEMENTS if grids.device.type == "cpu" else GPU_CHUNK_ELEMENTS
    length = max(budget // elements, 1)
    for start in range(0, len(grids), length):
        yield slice(start, start + length)


def window_columns(
    maps: Tensor, images: Tensor, corners: Tensor, count: int, size: int, step: int, every: int = 1
) -> Iterator[Tensor]:
    """Windows of R candidate grids, one column (R, count, size, size, C) at a time.

    Windows are views of one region per grid, which is cut once. The candidates of a column are in memory order, and so
    are results computed from them; rows of candidates would have to be copied. With `every`, only every `every`-th
    pixel and row of a window is kept.
    """
    # Only pixels at multiples of `unit` are read.
    unit = math.gcd(step, every)
    size, step, every = -(-size // unit), step // unit, every // unit
    regions = _cut(maps, images, corners, size + step * (count - 1), unit)
    # Makes the used pixels of a row contiguous.
    phases = [regions[:, :, phase::every].contiguous() for phase in range(every)]
    width = -(-size // every)
    for offset in range(0, count * step, step):
        columns = phases[offset % every].narrow(2, offset // every, width)
        yield columns.unfold(1, size, step)[..., ::every].movedim(-1, 2)


def cut_squares(maps: Tensor, frames: Sequence[int], positions: Tensor, size: int) -> Tensor:
    """Squares of maps (B, N, H, W, C) at (B, P, len(frames), 2) -> (B, P, len(frames), size, size, C)."""
    images = _image_index(maps, frames).expand(positions.shape[:-1])
    squares = _cut(maps, images.flatten(), positions.flatten(0, -2), size)
    return squares.unflatten(0, positions.shape[:-1])


def _image_index(maps: Tensor, frames: Sequence[int]) -> Tensor:
    """Index among all B * N images, (B, 1, len(frames))."""
    batch, frame_number = maps.shape[:2]
    bursts = frame_number * torch.arange(batch, device=maps.device)
    return bursts[:, None, None] + torch.tensor(list(frames), device=maps.device)


def _cut(maps: Tensor, images: Tensor, corners: Tensor, size: int, unit: int = 1) -> Tensor:
    """Squares of maps (B, N, H, W, C), one per image index (R,) and corner (R, 2) -> (R, size, size, C).

    Only every `unit`-th pixel and row is kept. Border pixels are repeated beyond the border of the map.
    """
    height, width, channels = maps.shape[2:]
    if unit == 1 and maps.device.type == "cpu" and len(corners) and lie_inside(corners, size, maps).all():
        runs = maps.reshape(-1).unfold(0, size * channels, channels)  # a row of a square is contiguous
        y, x = corners.unbind(-1)
        starts = ((images * height + y) * width + x)[:, None] + width * torch.arange(size)
        return runs.index_select(0, starts.flatten()).reshape(len(corners), size, size, channels)
    steps = unit * torch.arange(size, device=maps.device)
    y, x = ((corners[:, i : i + 1] + steps).clamp(0, side - 1) for i, side in enumerate((height, width)))
    pixels = (images[:, None, None] * height + y[:, :, None]) * width + x[:, None, :]
    return maps.reshape(-1, channels).index_select(0, pixels.flatten()).unflatten(0, pixels.shape)
