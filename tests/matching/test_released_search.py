"""Block matching with the half-open candidate ranges of the released code, against a direct search."""

import pytest
import torch
from torch import Tensor

from twostagealign.matching import hard_match


def search(features: Tensor, origin: tuple[int, int], size: int, radius: int) -> list[tuple[int, int]]:
    """Positions of one window in all frames of (N, C, H, W), with Python's half-open ranges throughout."""
    count, _, height, width = features.shape
    middle = count // 2
    y0, x0 = origin
    own = features[middle, :, y0 : y0 + size, x0 : x0 + size]
    found = {middle: origin}
    for frames in (range(middle - 1, -1, -1), range(middle + 1, count)):
        start = origin
        for frame in frames:
            for offsets in (range(-radius, radius, 2), range(-2, 2)):
                candidates = [
                    (y, x)
                    for y in (start[0] + offset for offset in offsets)
                    for x in (start[1] + offset for offset in offsets)
                    if y in range(height - size) and x in range(width - size)
                ]
                windows = [features[frame, :, y : y + size, x : x + size] for y, x in candidates]
                distances = [float((window - own).abs().mean()) for window in windows]
                start = candidates[distances.index(min(distances))]
            found[frame] = start
    return [found[frame] for frame in range(count)]


@pytest.mark.parametrize("radius", [2, 4, 6])
def test_agrees_with_a_direct_search(radius) -> None:
    features = torch.rand(5, 3, 14, 17, generator=torch.Generator().manual_seed(radius), dtype=torch.float64)
    origins = [(0, 0), (5, 6), (9, 12), (9, 0), (3, 12)]
    found = hard_match(features[None], torch.tensor([origins]), 5, radius, inclusive=False)
    assert found[0].tolist() == [list(map(list, search(features, origin, 5, radius))) for origin in origins]


def test_window_at_the_lower_right_border_cannot_stay_in_place() -> None:
    frame = torch.rand(1, 2, 10, 10, generator=torch.Generator().manual_seed(0))
    still = frame.expand(3, -1, -1, -1)[None]
    origin = torch.tensor([[[6, 6]]])
    assert (hard_match(still, origin, 4, 2) == 6).all()
    moved = hard_match(still, origin, 4, 2, inclusive=False)[0, 0]
    assert moved[1].tolist() == [6, 6]
    assert (moved[[0, 2]] < 6).all()


def test_map_with_room_for_one_position_only() -> None:
    maps, origin = torch.zeros(1, 3, 1, 4, 9), torch.zeros(1, 1, 2, dtype=torch.long)
    hard_match(maps, origin, 4, 2)
    with pytest.raises(ValueError, match="does not fit into a map of 4x9"):
        hard_match(maps, origin, 4, 2, inclusive=False)
