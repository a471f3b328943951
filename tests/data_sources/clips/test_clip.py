import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twostagealign.data.clips.clip import PADDINGS, Clip, frame_window
from twostagealign.data.pictures import write_picture
from twostagealign.runtime.errors import UserError

WINDOWS = json.loads((Path(__file__).parents[2] / "data" / "frame_windows.json").read_text())


@pytest.mark.parametrize("padding", PADDINGS)
def test_windows_agree_with_the_reference_numbers(padding):
    entries = [entry for entry in WINDOWS if entry["padding"] == padding]
    assert len(entries) == 51
    for entry in entries:
        assert frame_window(entry["center"], entry["count"], entry["frames"], padding) == entry["indices"], entry


@given(st.data(), st.sampled_from(PADDINGS), st.integers(1, 9))
def test_every_window_is_inside_the_clip_around_its_reference(data, padding, frames):
    count = data.draw(st.integers(frames, frames + 12))
    center = data.draw(st.integers(0, count - 1))
    window = frame_window(center, count, frames, padding)
    assert len(window) == frames
    assert window[frames // 2] == center
    assert min(window) >= 0
    assert max(window) < count
    if padding in ("new_info", "circle"):
        assert len(set(window)) == frames


def test_even_windows_reach_one_frame_further_back():
    assert frame_window(4, 9, 4) == [2, 3, 4, 5]
    assert frame_window(0, 9, 4) == [3, 2, 0, 1]
    assert frame_window(8, 9, 4) == [6, 7, 8, 5]


def test_short_clips():
    for padding in PADDINGS:
        assert frame_window(0, 1, 1, padding) == [0]
    assert frame_window(0, 1, 5, "replicate") == [0] * 5
    assert frame_window(1, 3, 5, "reflection") == [1, 0, 1, 2, 1]
    for padding, count in (("new_info", 4), ("circle", 4), ("reflection", 2)):
        with pytest.raises(ValueError, match=f"found a clip of {count} frames, expected at least {count + 1} "):
            frame_window(0, count, 5, padding)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 9, 5, "mirror"), "padding: found 'mirror', expected one of replicate, "),
        ((0, 9, 0), "frames: found 0"),
        ((9, 9, 5), "center: found 9, expected 0 to 8"),
        ((-1, 9, 5), "center: found -1"),
    ],
)
def test_window_errors(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        frame_window(*arguments)


def test_clip_reads_frames_in_the_order_of_names(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    for number in (2, 0, 1):
        write_picture(tmp_path / f"{number:08d}.png", pictures[number])
    (tmp_path / "notes.txt").touch()
    clip = Clip(tmp_path)
    assert (len(clip), clip.height, clip.width) == (3, 6, 8)
    window = clip.frames([2, 0, 1])
    assert window.dtype == torch.uint8
    np.testing.assert_array_equal(window.permute(0, 2, 3, 1), pictures[[2, 0, 1]])


def test_odd_sides_are_cut_to_even(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", picture)
    clip = Clip(tmp_path)
    assert (clip.height, clip.width) == (4, 6)
    np.testing.assert_array_equal(clip[0].permute(1, 2, 0), picture[:4, :6])


def test_clip_errors(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        Clip(tmp_path / "none")
    with pytest.raises(UserError, match="no picture"):
        Clip(tmp_path)
    write_picture(tmp_path / "a.png", np.zeros((4, 1, 3), np.uint8))
    with pytest.raises(UserError, match=r"a\.png: found 1x4 pixels, expected at least 2x2"):
        Clip(tmp_path)
    write_picture(tmp_path / "a.png", np.zeros((4, 6, 3), np.uint8))
    write_picture(tmp_path / "b.png", np.zeros((4, 7, 3), np.uint8))
    with pytest.raises(UserError, match=r"b\.png: found 7x4 pixels, expected 6x4 as in a\.png"):
        Clip(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    write_picture(tmp_path / "b.png", noise)
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-20])
    clip = Clip(tmp_path)
    with pytest.raises(UserError, match=r"b\.png: truncated"):
        clip[1]
