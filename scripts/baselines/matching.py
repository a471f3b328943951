"""Direct progressive block matching: a loop over patches, frames and candidates."""

import torch
from torch import Tensor


def match_directly(features: Tensor, origins: Tensor, size: int, radius: int) -> Tensor:
    """Find each window of the middle frame in every other frame.

    Args:
        features: feature maps, (N, C, H, W).
        origins: top-left corners [y, x] of the windows, (P, 2).
        size: side of a window, feature pixels.
        radius: largest coarse offset from one frame to the next.

    Returns:
        Top-left corners [y, x], (P, N, 2).

    Source: Guo et al., CVPR 2022, section 3.2.
    """
    middle = len(features) // 2
    positions = origins[:, None].repeat(1, len(features), 1)
    for patch, (top, left) in enumerate(origins.tolist()):
        window = features[middle, :, top : top + size, left : left + size]
        for frames in (range(middle - 1, -1, -1), range(middle + 1, len(features))):
            start = (top, left)
            for i in frames:
                start = search(window, features[i], start, range(-radius, radius + 1, 2))
                start = search(window, features[i], start, range(-2, 3))
                positions[patch, i] = torch.tensor(start)
    return positions


def search(window: Tensor, frame: Tensor, start: tuple[int, int], offsets: range) -> tuple[int, int]:
    """Return the position around `start` where a window (C, size, size) fits a frame (C, H, W) best, first on ties."""
    size, (height, width) = window.shape[-1], frame.shape[-2:]
    best, place = float("inf"), start
    for y in (start[0] + offset for offset in offsets):
        for x in (start[1] + offset for offset in offsets):
            if 0 <= y <= height - size and 0 <= x <= width - size:
                distance = (window - frame[:, y : y + size, x : x + size]).abs().mean().item()
                if distance < best:
                    best, place = distance, (y, x)
    return place
