"""Compared with the frames that OpenCV makes of the same plans."""

import numpy as np
import pytest
import torch

from twostagealign.data import StillsInMotion, StillsOnDevice, bundled_picture, read_picture, write_picture

PARTS = {
    "downscaled": {},
    "as it is": {"scale_range": (1, 1)},
    "much downscaled": {"scale_range": (0.4, 0.5)},
    "much motion": {"max_rotation": 10.0, "max_zoom": 0.1},
    "foreground": {"foreground_probability": 1.0},
    "recoloured": {"recolour_probability": 1.0},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of different shapes, one of them, once downscaled, smaller than a frame: its mirror image is seen."""
    folder = tmp_path_factory.mktemp("pictures")
    write_picture(folder / "a.png", bundled_picture("astronaut")[:240, :300])
    write_picture(folder / "b.png", bundled_picture("coffee")[:300, 100:340])
    write_picture(folder / "c.png", bundled_picture("rocket")[100:220, 200:360])
    return folder


def both(folder, count=12, **arguments):
    """Frames by OpenCV and on the device, (B, N, 3, H, W)."""
    # OpenCV's own mirror image of a mirror image is none: motion is small enough not to meet it.
    arguments = {"size": (64, 96), "max_shift": 8.0, "foreground_probability": 0.0, "seed": 4, **arguments}
    bursts = StillsInMotion(folder, **arguments)
    device = StillsOnDevice(map(read_picture, bursts.pictures), bursts.size, torch.device("cpu"))
    return torch.stack([bursts[i] for i in range(count)]), device([bursts.plan(i) for i in range(count)])


@pytest.mark.parametrize("part", PARTS)
def test_frames_are_those_of_opencv_but_for_rounding(folder, part):
    expected, found = both(folder, **PARTS[part])
    assert found.dtype == torch.uint8
    assert found.shape == expected.shape == (12, 5, 3, 64, 96)
    difference = (found.int() - expected.int()).abs().float()
    assert difference.mean() < 0.4
    assert (difference > 4).float().mean() < 1e-3
    assert difference[:, 2].mean() < 0.15  # the reference is not interpolated


def test_reference_is_an_exact_crop(folder):
    expected, found = both(folder, scale_range=(1, 1))
    assert found[:, 2].equal(expected[:, 2])


def test_still_burst_is_the_same_picture_in_all_frames(folder):
    _, found = both(folder, max_shift=0, max_rotation=0, max_zoom=0)
    assert found.equal(found[:, 2:3].expand_as(found))


def test_downscaling_takes_means_of_areas(tmp_path):
    """Of a picture without motion at half its size: each pixel is the mean of a square of four."""
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    write_picture(tmp_path / "noise.png", picture)
    still = {"max_shift": 0, "max_rotation": 0, "max_zoom": 0, "augment": False}
    _, found = both(tmp_path, count=1, size=32, scale_range=(0.5, 0.5), **still)
    means = picture.reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(found[0, 0].numpy() - means).max() <= 0.5


def test_burst_does_not_depend_on_its_batch(folder):
    """To the bit, and whatever else is in the batch: other windows, other foregrounds."""
    arguments = {"scale_range": (0.3, 1.0), "foreground_probability": 0.5, "recolour_probability": 0.5}
    bursts = StillsInMotion(folder, size=64, max_shift=40, **arguments)
    device = StillsOnDevice(map(read_picture, bursts.pictures), bursts.size, torch.device("cpu"))
    plans = [bursts.plan(i) for i in range(16)]
    assert len({bool(plan.foreground) for plan in plans}) == 2
    together = device(plans)
    alone = torch.cat([device([plan]) for plan in plans])
    assert alone.equal(together)
    assert device(plans[::-1]).equal(together.flip(0))


def test_one_frame(folder):
    expected, found = both(folder, count=2, frames=1, scale_range=(1, 1))
    assert found.equal(expected)
