import pickle

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from twostagealign.data.frame_files import list_pictures
from twostagealign.data.pictures import bundled_picture, read_picture, write_picture
from twostagealign.data.stills.stills import StillsInMotion
from twostagealign.runtime.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three pictures of different shapes."""
    folder = tmp_path_factory.mktemp("pictures")
    write_picture(folder / "a.png", bundled_picture("astronaut")[:240, :300])
    write_picture(folder / "b.png", bundled_picture("coffee")[:300, 100:340])
    write_picture(folder / "c.png", bundled_picture("rocket")[100:260, 200:360])
    return folder


def exactly_within(part, whole):
    y, x = np.unravel_index(
        cv2.matchTemplate(whole, part, cv2.TM_SQDIFF).argmin(), np.subtract(whole.shape, part.shape)[:2] + 1
    )
    return np.array_equal(whole[y : y + part.shape[0], x : x + part.shape[1]], part)


def test_burst_depends_on_seed_and_index_alone(folder):
    arguments = {"size": 64, "length": 6, "foreground_probability": 0.5}
    bursts = StillsInMotion(folder, **arguments)
    forward = [bursts[i] for i in range(6)]
    again = StillsInMotion(folder, **arguments, cache_mb=0)
    for i in reversed(range(6)):
        assert again[i].equal(forward[i])
    assert not StillsInMotion(folder, **arguments, seed=1)[0].equal(forward[0])
    assert not forward[0].equal(forward[1])
    # More bursts of the same kind begin with the same ones.
    assert StillsInMotion(folder, **{**arguments, "length": 100})[5].equal(forward[5])


def test_burst_does_not_depend_on_the_number_of_workers(folder):
    bursts = StillsInMotion(folder, size=64, length=6)
    loaded = [batch for workers in (0, 2) for batch in DataLoader(bursts, batch_size=3, num_workers=workers)]
    assert torch.cat(loaded[:2]).equal(torch.cat(loaded[2:]))


def test_item_is_clean_rgb_of_the_given_size(folder):
    item = StillsInMotion(folder, frames=3, size=(48, 80), length=1)[0]
    assert item.shape == (3, 3, 48, 80)
    assert item.dtype == torch.uint8
    assert item.is_contiguous()


def test_reference_is_an_exact_crop(folder):
    bursts = StillsInMotion(folder, size=96, scale_range=(1, 1), foreground_probability=0, length=12)
    pictures = [read_picture(path) for path in list_pictures(folder)]
    seen = set()
    for item in bursts:
        reference = np.ascontiguousarray(item[2].permute(1, 2, 0).numpy())
        found = []
        for number, picture in enumerate(pictures):
            for turns in range(4):
                for mirrored in (False, True):
                    turned = np.ascontiguousarray(np.rot90(picture, turns)[:, :: -1 if mirrored else 1])
                    if exactly_within(reference, turned):
                        found.append((number, turns, mirrored))
        assert len(found) == 1
        seen.add(found[0])
    assert {number for number, _, _ in seen} == {0, 1, 2}
    assert len({(turns, mirrored) for _, turns, mirrored in seen}) >= 4  # of 8


def test_without_augmentation_pictures_stay_upright(folder):
    bursts = StillsInMotion(folder, size=96, scale_range=(1, 1), foreground_probability=0, length=5, augment=False)
    pictures = [read_picture(path) for path in list_pictures(folder)]
    for item in bursts:
        reference = np.ascontiguousarray(item[2].permute(1, 2, 0).numpy())
        assert any(exactly_within(reference, picture) for picture in pictures)


def test_walk_is_the_motion_of_the_content(folder):
    """Brute force over each frame, through downscaling, turning and mirroring."""
    bursts = StillsInMotion(
        folder, size=160, max_shift=8, max_rotation=0.2, max_zoom=0.002, foreground_probability=0, length=16, seed=5
    )
    errors = []
    for index in range(len(bursts)):
        views = [cv2.cvtColor(np.ascontiguousarray(v.permute(1, 2, 0)), cv2.COLOR_RGB2GRAY) for v in bursts[index]]
        middle = views[2][56:104, 56:104]
        itself = cv2.matchTemplate(views[2], middle, cv2.TM_CCOEFF_NORMED)
        if np.partition(itself.ravel(), -30)[-30] > 0.9:  # too little in it to be found
            continue
        for view, shift in zip(views, bursts.walk(index), strict=True):
            scores = cv2.matchTemplate(view, middle, cv2.TM_CCOEFF_NORMED)
            found = np.array(np.unravel_index(scores.argmax(), scores.shape)) - 56
            errors.append(np.abs(found - 2 * shift).max())
    assert len(errors) >= 25
    assert max(errors) < 1.1  # half a pixel of rounding, and what the middle turns
    assert np.abs([bursts.walk(i) for i in range(16)]).max() > 8


def test_shifts_are_bounded_and_small_ones_are_covered(folder):
    bursts = StillsInMotion(folder, size=64, max_shift=24, length=300)
    walks = np.stack([bursts.walk(i) for i in range(300)])
    fastest = np.linalg.norm(np.diff(walks, axis=1), axis=2).max(axis=1)
    assert fastest.max() <= 24
    assert fastest.max() > 20
    assert 0.1 < np.mean(fastest < 6) < 0.5
    assert not walks[:, 2].any()
    still = StillsInMotion(
        folder, size=64, max_shift=0, max_rotation=0, max_zoom=0, foreground_probability=0, length=1
    )[0]
    assert still.equal(still[2].expand_as(still))


def test_a_share_of_the_bursts_is_at_rest_and_the_others_stay_as_they_are(folder):
    arguments = {"size": 64, "foreground_probability": 0, "length": 60}
    moving = StillsInMotion(folder, **arguments)
    some = StillsInMotion(folder, **arguments, rest_probability=0.25)
    at_rest = [index for index in range(60) if some[index].equal(some[index][2].expand_as(some[index]))]
    assert 6 <= len(at_rest) <= 25
    assert all(some[index].equal(moving[index]) for index in range(60) if index not in at_rest)
    assert not any(some.walk(index).any() for index in at_rest)


def test_a_foreground_moves_before_a_camera_at_rest(folder):
    arguments = {"size": 128, "rest_probability": 1, "length": 5}
    plain = StillsInMotion(folder, foreground_probability=0, **arguments)
    covered = StillsInMotion(folder, foreground_probability=1, **arguments)
    for background, burst in zip(plain, covered, strict=True):
        changed = (background != burst).any(dim=1)
        assert not changed[0].equal(changed[4])


def test_foreground_moves_on_its_own(folder):
    arguments = {"size": 128, "max_rotation": 0, "max_zoom": 0, "length": 10, "scale_range": (1, 1)}
    plain = StillsInMotion(folder, foreground_probability=0, **arguments)
    covered = StillsInMotion(folder, foreground_probability=1, **arguments)
    steps, apart = [], []
    for i in range(10):
        changed = (plain[i] != covered[i]).any(dim=1)  # (N, H, W)
        assert 0.005 < changed[2].float().mean() < 0.5
        middle = [np.argwhere(frame.numpy()).mean(axis=0) for frame in changed if frame.any()]
        if len(middle) == 5:
            steps.append(np.diff(middle, axis=0))
            apart.append(steps[-1] - 2 * np.diff(covered.walk(i), axis=0))
    assert np.abs(steps).max() > 8
    assert np.linalg.norm(steps, axis=-1).max() <= 2 * 24 + 1
    assert np.abs(apart).max() > 8
    share = np.mean(
        [
            not a.equal(b)
            for a, b in zip(
                StillsInMotion(folder, size=16, foreground_probability=0.3, length=200),
                StillsInMotion(folder, size=16, foreground_probability=0, length=200),
                strict=True,
            )
        ]
    )
    assert 0.15 < share < 0.45


def test_border_is_avoided_where_the_picture_is_large_enough(tmp_path):
    """Mirrored content would show as rows that grow darker."""
    rows = np.repeat(np.arange(200, dtype=np.uint8)[:, None, None], 3, axis=2)
    write_picture(tmp_path / "ramp.png", np.repeat(rows, 200, axis=1))
    bursts = StillsInMotion(
        tmp_path, size=96, max_shift=10, max_rotation=0, max_zoom=0, foreground_probability=0, scale_range=(1, 1),
        augment=False, length=40,
    )  # fmt: skip
    for item in bursts:
        steps = item[:, 0, :, 48].int().diff(dim=1)
        assert (steps >= 0).all()


def test_pictures_smaller_than_a_frame_are_continued_by_their_mirror_image(tmp_path):
    picture = np.maximum(bundled_picture("coffee")[100:150, 100:140], 30)
    write_picture(tmp_path / "small.png", picture)
    bursts = StillsInMotion(tmp_path, size=96, foreground_probability=0, scale_range=(1, 1), augment=False, length=3)
    for item in bursts:
        reference = np.ascontiguousarray(item[2].permute(1, 2, 0).numpy())
        assert exactly_within(picture, reference)  # the whole picture lies in the frame
        assert reference.min() == 30  # and nowhere is it black


def test_bundled_pictures_as_source():
    item = StillsInMotion("skimage", size=64, length=1)[0]
    assert item.float().std() > 5


def test_survives_pickling_as_spawned_workers_need(folder):
    bursts = StillsInMotion(folder, size=32, length=2)
    first = bursts[0]
    assert pickle.loads(pickle.dumps(bursts))[0].equal(first)


@pytest.mark.parametrize(
    "argument",
    [
        {"frames": 0}, {"size": 63}, {"size": (64, 0)}, {"max_shift": -1.0}, {"max_shift": float("nan")},
        {"max_rotation": 90.0}, {"max_zoom": -0.1}, {"foreground_probability": 1.5}, {"rest_probability": -0.5},
        {"scale_range": (0.0, 1.0)}, {"scale_range": (0.9, 0.6)}, {"scale_range": (0.5, 2.0)},
        {"seed": -1}, {"length": 0}, {"cache_mb": -1},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_out_of_range_are_named(folder, argument):
    name = next(iter(argument))
    with pytest.raises(ValueError, match=f"^StillsInMotion: {name}: found .*, expected [^\n]*$"):
        StillsInMotion(folder, **argument)


def test_errors_of_the_source(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        StillsInMotion(tmp_path / "none")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(UserError, match=r"broken\.png"):
        StillsInMotion(tmp_path, length=1)[0]


def test_index_out_of_range(folder):
    bursts = StillsInMotion(folder, length=3)
    assert len(bursts) == 3
    for index in (3, -1):
        with pytest.raises(IndexError, match="expected 0 to 2"):
            bursts[index]


def test_recolouring_permutes_channels_and_scales_saturation_and_leaves_grey(tmp_path):
    """Every channel of a recoloured burst is an affine mix of the original ones; the motion is the same."""
    coloured = np.full((80, 80, 3), (90, 120, 150), np.uint8)
    write_picture(tmp_path / "a.png", coloured)
    plain = StillsInMotion(tmp_path, size=16, foreground_probability=0, length=60)
    vivid = StillsInMotion(tmp_path, size=16, foreground_probability=0, length=60, recolour_probability=0.5)
    found = np.stack([vivid[i][0, :, 0, 0].numpy() for i in range(60)]).astype(float)
    same = (found == coloured[0, 0]).all(axis=1)
    assert 15 < same.sum() < 45
    orders = {tuple(np.argsort(colour)) for colour in found}
    assert len(orders) == 6
    spread = np.ptp(found[~same], axis=1)
    assert 28 <= spread.min() < 45
    assert 85 < spread.max() <= 121
    assert plain[0].shape == vivid[0].shape

    write_picture(tmp_path / "a.png", np.full((80, 80, 3), 120, np.uint8))
    grey = StillsInMotion(tmp_path, size=16, foreground_probability=0, length=9, recolour_probability=1)
    assert all((grey[i].numpy() == 120).all() for i in range(9))
