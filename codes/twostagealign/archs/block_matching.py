"""Progressive block matching: stage one of the alignment, hard for testing and differentiable for training.

Windows are found on low-resolution feature maps and cut at `scale` times their position from the raw planes. All bursts
and all patches are searched at once. Only the frames, each of which starts where its inner neighbour was found, are
visited one after the other, both directions in time together.

Source: Guo et al., "A Differentiable Two-stage Alignment Scheme for Burst Image Reconstruction with Large Shift",
CVPR 2022, section 3.2.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

COARSE_STEP = 2
FINE_RADIUS = 2
FINE_STEP = 1

# How many numbers of candidate windows are held at once: few enough for the cache of a CPU, enough to keep a GPU busy.
# It bounds the memory (a column of candidates is the least that is held) and never changes a result.
CPU_CHUNK_ELEMENTS = 2**19
GPU_CHUNK_ELEMENTS = 2**25


@dataclass(frozen=True)
class SoftMatch:
    """Where the windows of a burst may lie in its other frames, and how likely.

    B bursts, P patches, N frames, K candidates in raster order; positions are top-left corners [y, x] in feature
    pixels, int64. Nothing is searched in the reference frame N // 2: its positions and candidates are the origin,
    `valid` is False, scores and weights are 0.

    Attributes:
        positions: the best candidate, (B, P, N, 2).
        candidates: (B, P, N, K, 2); those that are not valid reach over the border.
        valid: whether the candidate's window lies wholly inside the map, (B, P, N, K), bool.
        scores: minus the distances, scaled to an L2 norm of 1 over K, (B, P, N, K); 0 where not valid.
        weights: softmax of the scores over K, (B, P, N, K); 0 where not valid.
    """

    positions: Tensor
    candidates: Tensor
    valid: Tensor
    scores: Tensor
    weights: Tensor


@torch.no_grad()
def hard_match(features: Tensor, origins: Tensor, size: int, radius: int, inclusive: bool = True) -> Tensor:
    """Find each reference window in every frame, coarse to fine, from the reference frame outward.

    Args:
        features: feature maps, (B, N, C, Hf, Wf), any float dtype; the reference frame is N // 2.
        origins: top-left corners [y, x] of the windows in the reference frame, (B, P, 2), int64, feature pixels.
        size: side of a window, feature pixels.
        radius: largest coarse offset from one frame to the next, feature pixels.
        inclusive: False leaves out the largest offset of either search and the positions at the lower and the right
            border, as the released code does.

    Returns:
        Top-left corners [y, x] of the best windows, (B, P, N, 2), int64, feature pixels; in the reference frame
        the origins. Among equal distances the first in raster order wins.

    Raises:
        ValueError: if the window fits nowhere in the map.

    Source:
        Guo et al., CVPR 2022, section 3.2.
    """
    _check_fit(features, size if inclusive else size + 1, radius)
    maps = _channels_last(features)
    sums = _window_sums(features, size)
    positions = {features.shape[1] // 2: origins}
    starts = torch.stack([origins, origins], 2)
    for frames in _outward(features.shape[1]):
        starts = starts[:, :, : len(frames)]
        for reach, step in ((radius, COARSE_STEP), (FINE_RADIUS, FINE_STEP)):
            candidates = _candidates(starts, reach, step, inclusive)
            costs = _costs(maps, sums, origins, frames, candidates, size, step)
            starts = _best(candidates, costs, _inside(candidates, size if inclusive else size + 1, maps))
        positions |= dict(zip(frames, starts.unbind(2), strict=True))
    return torch.stack([positions[frame] for frame in sorted(positions)], 2)


def soft_match(features: Tensor, origins: Tensor, size: int, radius: int, temperature: float) -> SoftMatch:
    """Weigh the coarse candidates of every frame, differentiably, from the reference frame outward.

    The gradient reaches `features` through scores and weights; the start in the next frame carries none.

    Args:
        features: feature maps, (B, N, C, Hf, Wf), any float dtype; the reference frame is N // 2.
        origins: top-left corners [y, x] of the windows in the reference frame, (B, P, 2), int64, feature pixels.
        size: side of a window, feature pixels.
        radius: largest offset from one frame to the next, feature pixels; K = (radius + 1) ** 2 candidates.
        temperature: of the softmax, > 0; the smaller, the closer the best candidate comes to weight 1.

    Returns:
        The candidates of all frames and their weights.

    Raises:
        ValueError: if the window fits nowhere in the map.

    Source:
        Guo et al., CVPR 2022, section 3.2.
    """
    _check_fit(features, size, radius)
    maps = _channels_last(features)
    reference = features.shape[1] // 2
    starts = torch.stack([origins, origins], 2)

    own = origins.unsqueeze(2).expand(-1, -1, (radius + 1) ** 2, -1)
    nothing = torch.zeros(own.shape[:-1], dtype=features.dtype, device=features.device)
    found = {reference: (origins, own, nothing.bool(), nothing, nothing)}
    for frames in _outward(features.shape[1]):
        candidates = _candidates(starts[:, :, : len(frames)], radius, COARSE_STEP)
        valid = _inside(candidates, size, maps)
        distances = _distances(maps, origins, frames, candidates, size, COARSE_STEP)
        scores = _scores(distances, valid)
        weights = (scores / temperature).masked_fill(~valid, -torch.inf).softmax(-1)
        starts = _best(candidates, distances, valid)
        parts = (part.unbind(2) for part in (starts, candidates, valid, scores, weights))
        found |= dict(zip(frames, zip(*parts, strict=True), strict=True))
    fields = zip(*(found[frame] for frame in sorted(found)), strict=True)
    return SoftMatch(*(torch.stack(field, 2) for field in fields))


def score_candidates(features: Tensor, origins: Tensor, match: SoftMatch, size: int) -> Tensor:
    """Score the candidates of a match on other maps, for example on the clean raw planes.

    Args:
        features: maps of the same height and width as the match's, (B, N, C, Hf, Wf), any number of channels.
        origins: top-left corners [y, x] of the windows in the reference frame, (B, P, 2), int64, feature pixels.
        match: the candidates.
        size: side of a window, feature pixels.

    Returns:
        Minus the distances, scaled to an L2 norm of 1 over the valid ones, (B, P, N, K); 0 where not valid and in the
        reference frame.

    Source:
        Guo et al., CVPR 2022, section 3.2 (supervision of the matching).
    """
    frames = range(features.shape[1])
    distances = _distances(_channels_last(features), origins, frames, match.candidates, size, COARSE_STEP)
    return _scores(distances, match.valid)


def blend_patches(maps: Tensor, match: SoftMatch, size: int, scale: int = 4) -> Tensor:
    """Align every frame by the weighted sum of its candidate patches.

    Args:
        maps: raw planes, and whatever shares their grid, (B, N, C, H, W).
        match: candidates and weights, in feature pixels.
        size: side of a patch, pixels of `maps`.
        scale: pixels of `maps` per feature pixel.

    Returns:
        Aligned patches, (B, P, N, C, size, size); in the reference frame the patch itself.

    Source:
        Guo et al., CVPR 2022, section 3.2.
    """
    frames, reference = range(maps.shape[1]), maps.shape[1] // 2
    planes = _channels_last(maps)
    images, corners, count = _candidate_grids(planes, frames, scale * match.candidates)
    weights = match.weights.reshape(-1, count, count, 1, 1, 1)
    elements = size**2 * planes.shape[-1]

    blended = planes.new_zeros(len(images), size, size, planes.shape[-1])
    for chunk in _chunks(images, count * elements):
        columns = _columns(planes, images[chunk], corners[chunk], count, size, scale * COARSE_STEP)
        blended[chunk] = sum((weights[chunk, :, i] * windows).sum(1) for i, windows in enumerate(columns))
    blended = blended.unflatten(0, match.weights.shape[:3])
    own = _cut_squares(planes, [reference], scale * match.positions[:, :, reference, None], size)
    return torch.cat([blended[:, :, :reference], own, blended[:, :, reference + 1 :]], 2).movedim(-1, 3)


def _check_fit(features: Tensor, size: int, radius: int) -> None:
    height, width = features.shape[-2:]
    # With an odd radius the offset 0 is no candidate: the map must leave room for a step aside.
    if min(height, width) < size + radius % 2:
        raise ValueError(f"a window of {size}x{size} with radius {radius} fits nowhere in a map of {height}x{width}")


def _channels_last(maps: Tensor) -> Tensor:
    """(B, N, C, H, W) -> (B, N, H, W, C): a row of a window, channels and all, is then one run of memory."""
    return maps.movedim(2, -1).contiguous()


def _outward(frame_number: int) -> Iterator[list[int]]:
    """Frames at distance 1, 2, ... from the reference: the earlier one and, where it exists, the later one."""
    reference = frame_number // 2
    for distance in range(1, reference + 1):
        yield [frame for frame in (reference - distance, reference + distance) if frame < frame_number]


def _candidates(starts: Tensor, radius: int, step: int, inclusive: bool = True) -> Tensor:
    """Square grid of offsets -radius, -radius + step, ..., radius around (..., 2) -> (..., K, 2) in raster order."""
    offsets = torch.arange(-radius, radius + inclusive, step, device=starts.device)
    return starts.unsqueeze(-2) + torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), -1).flatten(0, 1)


def _inside(candidates: Tensor, size: int, maps: Tensor) -> Tensor:
    y, x = candidates.unbind(-1)
    height, width = maps.shape[2:4]
    return (y >= 0) & (x >= 0) & (y <= height - size) & (x <= width - size)


def _best(candidates: Tensor, costs: Tensor, valid: Tensor) -> Tensor:
    # argmin promises the first among equals, which is the first in raster order.
    index = costs.masked_fill(~valid, torch.inf).argmin(-1)[..., None, None]
    return candidates.take_along_dim(index, -2).squeeze(-2)


def _scores(distances: Tensor, valid: Tensor) -> Tensor:
    # normalize keeps value and gradient finite where all distances are 0.
    return F.normalize(-distances.masked_fill(~valid, 0), dim=-1)


def _distances(
    maps: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int
) -> Tensor:
    """Mean absolute difference between the reference windows and their candidates, a square grid of spacing `step`.

    Maps (B, N, H, W, C), candidates (B, P, len(frames), K, 2) -> (B, P, len(frames), K); meaningless for candidates
    that reach over the border.
    """
    args = (maps, origins, frames, candidates, size, step)
    return _compare(*args, lambda windows, reference: (windows - reference).abs_()) / (size**2 * maps.shape[-1])


def _costs(
    maps: Tensor, sums: Tensor, origins: Tensor, frames: Sequence[int], candidates: Tensor, size: int, step: int
) -> Tensor:
    """What puts candidates in the order of `_distances` in less time, where only their order matters.

    |a - b| = 2 max(a, b) - a - b: one operation per element instead of two, the sums of the windows are known, and that
    of the reference window is the same for all. `sums` are those of `_window_sums`, the rest is as for `_distances`.
    """
    image = _image_index(maps, frames).unsqueeze(-1)
    y, x = (candidates[..., i].clamp(0, sums.shape[i + 1] - 1) for i in range(2))
    return _compare(maps, origins, frames, candidates, size, step, torch.maximum) - sums[image, y, x] / 2


def _window_sums(features: Tensor, size: int) -> Tensor:
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
    """Sum what `combine` makes of the elements of each candidate and of its reference window; see `_distances`."""
    images, corners, count = _candidate_grids(maps, frames, candidates)
    own = _cut_squares(maps, [maps.shape[1] // 2], origins.unsqueeze(2), size).flatten(0, 2)
    patch = torch.arange(len(own), device=maps.device).repeat_interleave(len(frames))
    # Filled in place: results allocated between the chunks would keep the allocator from reusing the chunks' memory.
    results = maps.new_empty(len(images), count, count)
    for chunk in _chunks(images, count * size**2 * maps.shape[-1]):
        reference = own.index_select(0, patch[chunk]).unsqueeze(1)
        for i, windows in enumerate(_columns(maps, images[chunk], corners[chunk], count, size, step)):
            results[chunk, :, i] = combine(windows, reference).flatten(2).sum(-1)
    return results.reshape(candidates.shape[:-1])


def _candidate_grids(maps: Tensor, frames: Sequence[int], candidates: Tensor) -> tuple[Tensor, Tensor, int]:
    """Describe square grids of candidates, (B, P, len(frames), K, 2).

    Returns for each of all R grids its image among the B * N, (R,), and its first candidate, (R, 2); and how many
    candidates a row and a column have.
    """
    corners = candidates[..., 0, :]
    images = _image_index(maps, frames).expand(corners.shape[:-1])
    return images.flatten(), corners.flatten(0, -2), round(candidates.shape[3] ** 0.5)


def _chunks(grids: Tensor, elements: int) -> Iterator[slice]:
    """Slices of `grids` that stay within the budget of their device, given the elements of a column of candidates."""
    budget = CPU_CHUNK_ELEMENTS if grids.device.type == "cpu" else GPU_CHUNK_ELEMENTS
    length = max(budget // elements, 1)
    for start in range(0, len(grids), length):
        yield slice(start, start + length)


def _columns(maps: Tensor, images: Tensor, corners: Tensor, count: int, size: int, step: int) -> Iterator[Tensor]:
    """Windows of the columns of R grids of candidates, one column (R, count, size, size, C) after the other.

    They are views of one region per grid, which is cut once. Candidates that lie below one another are in the order of
    their memory, and so is what is computed from them: rows of candidates would have to be copied.
    """
    reach = size + step * (count - 1)
    regions = _cut(maps, images, corners, reach, reach)
    for left in range(0, count * step, step):
        yield regions[:, :, left : left + size].unfold(1, size, step).movedim(-1, 2)


def _cut_squares(maps: Tensor, frames: Sequence[int], positions: Tensor, size: int) -> Tensor:
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
