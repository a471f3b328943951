from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.data import bundled_picture, write_picture
from twostagealign.isp import PROTOCOL_LEVELS, mosaic
from twostagealign.runtime.errors import UserError
from twostagealign.studies.ablation import scenes
from twostagealign.studies.ablation.scenes import NOISE, SHIFTS, bundled_scenes, clip_scenes, middle, scenes_by_number


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Seven pictures of 520x516 pixels; frame k is grey k, but for a mark in the middle."""
    folder = tmp_path / "020"
    folder.mkdir()
    for k in range(7):
        picture = np.full((516, 520, 3), 10 * k, np.uint8)
        picture[257:259, 259:261] = 255
        write_picture(folder / f"{k + 20:08d}.png", picture)
    return folder


def test_noise_lies_between_the_protocols_levels() -> None:
    assert list(NOISE) == ["high", "medium", "low"]
    high, medium, low = NOISE.values()
    assert medium.shot**2 == pytest.approx(high.shot * low.shot)
    assert medium.read**2 == pytest.approx(high.read * low.read)
    assert {level.name: (level.shot, level.read) for level in (high, low)} == PROTOCOL_LEVELS


def test_a_scene_is_a_photograph_that_moves_as_told() -> None:
    found = {(scene.picture, scene.shift): scene for scene in bundled_scenes()}
    assert {shift for _, shift in found} == set(SHIFTS)
    still, moving = (found["astronaut", shift].frames() for shift in (0, 24))
    assert still.shape == (5, 3, 512, 512)
    assert still.dtype == torch.uint8
    for frame in (still[0], moving[2]):  # the reference frame is the photograph itself
        torch.testing.assert_close(frame, torch.from_numpy(bundled_picture("astronaut")).permute(2, 0, 1))
    # Phase correlation with the reference, as an independent way to tell the shift: 48 RGB pixels.
    own, other = (torch.fft.fft2(moving[k].float().mean(0)) for k in (2, 3))
    peak = torch.fft.ifft2(own.conj() * other / (own * other).abs()).real.flatten().argmax()
    y, x = ((int(side) + 256) % 512 - 256 for side in divmod(int(peak), 512))
    assert (y**2 + x**2) ** 0.5 == pytest.approx(48, abs=1)


def test_what_is_measured_lies_inside_all_frames() -> None:
    """With the whole tiles that it is restored in: nothing of the result depends on what has left a frame."""
    margin = (scenes.SIZE - scenes.MEASURED) // 4
    assert margin >= max(SHIFTS) * (scenes.FRAMES // 2) + 4  # the halo of a tile
    assert margin % 64 == 0


def test_the_noise_of_a_burst_is_that_of_its_place_in_the_clip(clip: Path) -> None:
    early, _, late = (scene for scene in clip_scenes(clip) if scene.shift is None)
    assert (early.picture, late.picture) == ("020/00000022", "020/00000024")
    torch.testing.assert_close(early.frames()[:, 0, 0, 0].tolist(), [0, 10, 20, 30, 40])
    first, second = (scene.burst(scenes.NOISE["low"]) for scene in (early, late))
    # Frames 2 to 4 are in both, and the same.
    assert torch.equal(first.stack()[0][2:], second.stack()[0][:3])
    assert first.target().shape == (3, 512, 512)


def test_frames_of_a_clip_are_cut_from_its_middle_on_the_grid_of_the_mosaic(clip: Path) -> None:
    burst = clip_scenes(clip)[-1].frames()
    assert (burst[0] == 255).nonzero()[0].tolist() == [0, 255, 255]


def test_pictures_of_a_clip_are_set_in_motion_too(clip: Path) -> None:
    moving = {scene.picture for scene in clip_scenes(clip) if scene.shift == 8}
    assert moving == {"020/00000020", "020/00000026"}


def test_the_middle_is_the_middle() -> None:
    image = torch.arange(512.0).expand(3, 512, 512)
    assert middle(image).shape == (3, 256, 256)
    assert middle(image)[0, 0, 0] == 128
    assert mosaic(middle(image)).shape == (4, 128, 128)


@pytest.mark.parametrize(("number", "side"), [(4, 600), (5, 500)])
def test_clips_that_are_too_small_are_refused(tmp_path: Path, number: int, side: int) -> None:
    for k in range(number):
        write_picture(tmp_path / f"{k}.png", np.zeros((side, 600, 3), np.uint8))
    with pytest.raises(UserError, match=rf"found {number} pictures of 600x{side}, expected at least 5 of 512x512"):
        clip_scenes(tmp_path)


def test_bursts_of_more_frames_add_frames_around_the_same_reference(clip: Path) -> None:
    for k in (27, 28):
        write_picture(clip / f"{k:08d}.png", np.full((516, 520, 3), 10 * (k - 20), np.uint8))
    found = scenes_by_number(clip)
    assert {scene.number for scene in found} == {1, 2, 3, 4, 5, 7, 9}
    own = {scene.number: scene for scene in found if scene.group == scenes.CLIP_BY_NUMBER}
    assert {scene.picture for scene in own.values()} == {"020/00000024"}
    assert own[9].frames()[:, 0, 0, 0].tolist() == [10 * k for k in range(9)]
    assert own[4].frames()[:, 0, 0, 0].tolist() == [20, 30, 40, 50]
    references = {number: scene.burst(NOISE["high"]).reference.raw() for number, scene in own.items()}
    assert all(torch.equal(raw, references[9]) for raw in references.values())
    moving = {scene.number: scene for scene in found if (scene.picture, scene.shift) == ("coffee", 16)}
    assert torch.equal(moving[2].frames(), moving[9].frames()[3:5])


def test_bursts_of_nine_frames_need_nine(clip: Path) -> None:
    with pytest.raises(UserError, match="found 7 pictures of 520x516, expected at least 9 of 512x512"):
        scenes_by_number(clip)
