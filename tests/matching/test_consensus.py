"""Patches follow their neighbours where noise hides what they show, and only there."""

import pytest
import torch
from torch import Tensor

from twostagealign.matching.refinement import refine_beyond

SIDE, SIZE, COLUMNS = 16, 16, 6
HEIGHT, WIDTH = 96, 96
SHIFT = torch.tensor([6, -4])


def burst(contrast: float, noise: float = 0.05, seed: int = 0) -> Tensor:
    """Two frames, the second the reference, of a texture that moves by `SHIFT` to the first; (1, 2, 1, H, W)."""
    draw = torch.Generator().manual_seed(seed)
    scene = contrast * torch.rand(HEIGHT + 32, WIDTH + 32, generator=draw)
    frames = [scene[16 - y : 16 - y + HEIGHT, 16 - x : 16 - x + WIDTH] for y, x in (SHIFT.tolist(), (0, 0))]
    return torch.stack([frame + noise * torch.randn(frame.shape, generator=draw) for frame in frames])[None, :, None]


def search(planes: Tensor, start: Tensor = SHIFT, columns: int | None = COLUMNS) -> Tensor:
    """Offsets in the first frame, (rows, columns, 2), from a search that starts at `start`."""
    origins = torch.cartesian_prod(torch.arange(0, HEIGHT, SIDE), torch.arange(0, WIDTH, SIDE))[None]
    positions = torch.stack((origins + start, origins), dim=2)
    found = refine_beyond(planes, origins, positions, SIZE, columns)
    assert found[:, :, 1].equal(origins)
    return (found[0, :, 0] - origins[0]).unflatten(0, (-1, COLUMNS))


def is_right(offsets: Tensor, tolerance: int = 0) -> Tensor:
    return (offsets - SHIFT).abs().amax(-1) <= tolerance


def test_a_patch_that_shows_nothing_but_noise_follows_its_neighbours() -> None:
    planes = burst(contrast=0.5)
    flat = (slice(32, 48), slice(48, 64))  # the patch in row 2, column 3, and where it has moved to
    planes[0, :, 0, 28:56, 40:68] = 0.25 + 0.05 * torch.randn(2, 28, 28, generator=torch.Generator().manual_seed(1))
    assert planes[0, 1, 0][flat].std() < 0.06
    assert not is_right(search(planes, columns=None))[2, 3]
    assert is_right(search(planes))[2, 3]


def test_an_object_that_moves_by_itself_keeps_its_own_offset() -> None:
    planes = burst(contrast=0.5)
    noise = 0.07 * torch.randn(16, 16, generator=torch.Generator().manual_seed(1))  # as much as of two frames
    planes[0, 0, 0, 32 + 2 : 48 + 2, 48 + 4 : 64 + 4] = planes[0, 1, 0, 32:48, 48:64] + noise
    offsets = search(planes)
    assert offsets[2, 3].tolist() == [2, 4]
    assert is_right(offsets)[:2].all()


def test_what_has_left_the_frame_follows_its_neighbours() -> None:
    """The lowest patches are 90 % outside of the first frame: there is too little of them to be found by."""
    planes = burst(contrast=0.5)
    far = torch.tensor([14, -4])
    planes[0, 0] = torch.roll(planes[0, 0], (8, 0), (-2, -1))
    planes[0, 0, 0, :8] = 0.2
    without, offsets = (search(planes, far, columns)[-1, 1:] for columns in (None, COLUMNS))
    assert (without != far).any(-1).any()
    assert (offsets == far).all()


@pytest.mark.parametrize("seed", range(3))
def test_hardly_visible_texture_is_found_more_often(seed: int) -> None:
    planes = burst(contrast=0.1, seed=seed)
    without, found = (is_right(search(planes, columns=columns), 2).float().mean() for columns in (None, COLUMNS))
    assert without < 0.8
    assert found > 0.95
