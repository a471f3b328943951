"""Progressive block matching on feature maps: hard for testing, and differentiable for training.

Windows are found on low-resolution feature maps; the raw planes are cut at `scale` times their position. All bursts
and all patches are searched at once. Frames are searched one after the other, from the reference frame outward, because
each search starts at the position found in the frame before. The two directions in time run together.

Source: Guo et al., "A Differentiable Two-stage Alignment Scheme for Burst Image Reconstruction with Large Shift",
CVPR 2022, section 3.2.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from twostagealign.matching.candidate_windows import (
    block_means,
    candidate_grids,
    channels_last,
    chunks,
    cut_squares,
    least_distances,
    window_columns,
    window_distances,
)
from twostagealign.matching.candidates import best_candidates, lie_inside, square_grid

COARSE_STEP = 2
FINE_RADIUS = 2
FINE_STEP = 1


@dataclass(frozen=True)
class SoftMatch:
    """Candidate positions of each reference window in the other frames, with their weights.

    B bursts, P patches, N frames, K candidates in raster order. Positions are top-left corners [y, x] in feature
    pixels, int64. The reference frame N // 2 is not searched: its positions and candidates are the origin, `valid` is
    False, scores and weights are 0.

    Attributes:
        positions: the best candidate, (B, P, N, 2).
        candidates: (B, P, N, K, 2); invalid ones extend beyond the border.
        valid: whether the candidate's whole window is inside the map, (B, P, N, K), bool.
        scores: negative distances with an L2 norm of 1 over K, (B, P, N, K); 0 where invalid.
        weights: softmax of the scores over K, (B, P, N, K); 0 where invalid.
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
        inclusive: False excludes the largest offset of both searches, and positions at the bottom and right border, as
            the released code does.

    Returns:
        Top-left corners [y, x] of the best windows, (B, P, N, 2), int64, feature pixels; the origins in the reference
        frame. Of equal distances, the first in raster order wins.

    Raises:
        ValueError: if the window does not fit into the map.

    Source:
        Guo et al., CVPR 2022, section 3.2.
    """
    _check_fit(features, size if inclusive else size + 1, radius)
    # Half precision is too coarse for sums over a window.
    features = features.to(torch.promote_types(features.dtype, torch.float32))
    maps = channels_last(features)
    blocks = block_means(maps, size)
    positions = {features.shape[1] // 2: origins}
    starts = torch.stack([origins, origins], 2)
    for frames in _outward(features.shape[1]):
        starts = starts[:, :, : len(frames)]
        for reach, step in ((radius, COARSE_STEP), (FINE_RADIUS, FINE_STEP)):
            candidates = square_grid(starts, reach, step, inclusive)
            valid = lie_inside(candidates, size if inclusive else size + 1, maps)
            distances = least_distances(maps, blocks, origins, frames, candidates, valid, size, step)
            starts = best_candidates(candidates, distances)
        positions |= dict(zip(frames, starts.unbind(2), strict=True))
    return torch.stack([positions[frame] for frame in sorted(positions)], 2)


def soft_match(features: Tensor, origins: Tensor, size: int, radius: int, temperature: float) -> SoftMatch:
    """Weight the coarse candidates of every frame, differentiably, from the reference frame outward.

    Gradients reach `features` through scores and weights, not through the start position in the next frame.

    Args:
        features: feature maps, (B, N, C, Hf, Wf), any float dtype; the reference frame is N // 2.
        origins: top-left corners [y, x] of the windows in the reference frame, (B, P, 2), int64, feature pixels.
        size: side of a window, feature pixels.
        radius: largest offset from one frame to the next, feature pixels; K = (radius + 1) ** 2 candidates.
        temperature: of the softmax, > 0. A smaller one brings the best candidate's weight closer to 1.

    Raises:
        ValueError: if the window does not fit into the map.

    Source:
        Guo et al., CVPR 2022, section 3.2.
    """
    _check_fit(features, size, radius)
    maps = channels_last(features)
    reference = features.shape[1] // 2
    starts = torch.stack([origins, origins], 2)

    own = origins.unsqueeze(2).expand(-1, -1, (radius + 1) ** 2, -1)
    nothing = torch.zeros(own.shape[:-1], dtype=features.dtype, device=features.device)
    found = {reference: (origins, own, nothing.bool(), nothing, nothing)}
    for frames in _outward(features.shape[1]):
        candidates = square_grid(starts[:, :, : len(frames)], radius, COARSE_STEP)
        valid = lie_inside(candidates, size, maps)
        distances = window_distances(maps, origins, frames, candidates, size, COARSE_STEP)
        scores = _scores(distances, valid)
        weights = (scores / temperature).masked_fill(~valid, -torch.inf).softmax(-1)
        starts = best_candidates(candidates, distances.masked_fill(~valid, torch.inf))
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
        Negative distances with an L2 norm of 1 over the valid ones, (B, P, N, K); 0 where invalid, and in the reference
        frame.

    Source:
        Guo et al., CVPR 2022, section 3.2 (supervision of the matching).
    """
    frames = range(features.shape[1])
    distances = window_distances(channels_last(features), origins, frames, match.candidates, size, COARSE_STEP)
    return _scores(distances, match.valid)


def blend_patches(maps: Tensor, match: SoftMatch, size: int, scale: int = 4) -> Tensor:
    """Align every frame by the weighted sum of its candidate patches.

    Args:
        maps: raw planes, or other planes of the same size, (B, N, C, H, W).
        match: candidates and weights, in feature pixels.
        size: side of a patch, pixels of `maps`.
        scale: pixels of `maps` per feature pixel.

    Returns:
        Aligned patches, (B, P, N, C, size, size); in the reference frame the patch itself.

    Source:
        Guo et al., CVPR 2022, section 3.2.
    """
    frames, reference = range(maps.shape[1]), maps.shape[1] // 2
    planes = channels_last(maps)
    images, corners, count = candidate_grids(planes, frames, scale * match.candidates)
    weights = match.weights.reshape(-1, count, count, 1, 1, 1)
    elements = size**2 * planes.shape[-1]

    blended = planes.new_zeros(len(images), size, size, planes.shape[-1])
    for chunk in chunks(images, count * elements):
        columns = window_columns(planes, images[chunk], corners[chunk], count, size, scale * COARSE_STEP)
        blended[chunk] = sum((weights[chunk, :, i] * windows).sum(1) for i, windows in enumerate(columns))
    blended = blended.unflatten(0, match.weights.shape[:3])
    own = cut_squares(planes, [reference], scale * match.positions[:, :, reference, None], size)
    return torch.cat([blended[:, :, :reference], own, blended[:, :, reference + 1 :]], 2).movedim(-1, 3)


def _check_fit(features: Tensor, size: int, radius: int) -> None:
    height, width = features.shape[-2:]
    # With an odd radius, offset 0 is not a candidate, so the map must be one pixel larger than the window.
    if min(height, width) < size + radius % 2:
        raise ValueError(f"a window of {size}x{size} with radius {radius} does not fit into a map of {height}x{width}")


def _outward(frame_number: int) -> Iterator[list[int]]:
    """Frames at distance 1, 2, ... from the reference frame: the earlier one, and the later one if it exists."""
    reference = frame_number // 2
    for distance in range(1, reference + 1):
        yield [frame for frame in (reference - distance, reference + distance) if frame < frame_number]


def _scores(distances: Tensor, valid: Tensor) -> Tensor:
    # `normalize` keeps value and gradient finite if all distances are 0.
    return F.normalize(-distances.masked_fill(~valid, 0), dim=-1)
