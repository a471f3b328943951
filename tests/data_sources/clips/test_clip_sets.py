from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.data import PROTOCOL_NOISE, bundled_picture, write_picture
from twostagealign.data.burst import BAND, Burst
from twostagealign.data.clips.clip_sets import ClipSet, open_numbered_clip
from twostagealign.isp import mosaic, noise_map, protocol_camera, protocol_noise, unprocess
from twostagealign.runtime.errors import UserError

HIGH = PROTOCOL_NOISE["high"]


def write_clip(folder: Path, names: list[str], height: int = 12, width: int = 16) -> Path:
    folder.mkdir(parents=True)
    picture = bundled_picture("chelsea")
    for shift, name in enumerate(names):
        write_picture(folder / f"{name}.png", picture[shift : shift + height, shift : shift + width])
    return folder


def test_frames_are_degraded_by_the_protocol(tmp_path) -> None:
    height = BAND + 40  # more than one band
    clip = open_numbered_clip(write_clip(tmp_path / "a", ["24", "25", "26"], height, 20), HIGH, 3)
    assert (clip.size, clip.noise, list(clip.references)) == ((height // 2, 10), HIGH, [0, 1, 2])
    for index in range(3):  # the noise belongs to the place in the clip, not to the number in the name
        frame = clip.read(index)
        linear = unprocess(clip.picture(index)[None].float() / 255, protocol_camera())[0]
        expected = protocol_noise(mosaic(linear), HIGH.shot, HIGH.read, index + 1).clamp(0, 1)
        raw, deviation = frame.read()
        torch.testing.assert_close(raw, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(deviation, noise_map(expected[None], HIGH.shot, HIGH.read)[0], rtol=0, atol=1e-6)
        torch.testing.assert_close(Burst([frame], clip.camera).target(), linear, rtol=0, atol=1e-6)
        assert frame.clean.dtype == torch.uint8


def test_frames_are_in_the_order_of_their_numbers(tmp_path) -> None:
    folder = write_clip(tmp_path / "a", ["frame_8", "frame_9", "frame_10"])
    clip = open_numbered_clip(folder, HIGH, 3)
    assert clip.frames == ["frame_8", "frame_9", "frame_10"]
    np.testing.assert_array_equal(clip.read(2).clean, clip.picture(2))


def test_odd_sides_are_cut(tmp_path) -> None:
    clip = open_numbered_clip(write_clip(tmp_path / "a", ["0"], 13, 17), HIGH, 1)
    frame = clip.read(0)
    assert (clip.size, tuple(frame.planes.shape), tuple(frame.clean.shape)) == ((6, 8), (4, 6, 8), (3, 12, 16))


def test_set_lists_its_clips(tmp_path) -> None:
    for name in ("011", "000"):
        write_clip(tmp_path / name, ["0"])
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").touch()
    clips = ClipSet(tmp_path, frames=1)
    assert clips.clips == ["000", "011"]
    assert clips.open("011", HIGH).name == "011"


@pytest.mark.parametrize(
    ("names", "size", "message"),
    [
        (["10", "11", "13"], (12, 16), "/a: frame 12 is missing, found 13.png after 11.png"),
        (["1", "01", "2"], (12, 16), "frame 1 a second time, beside "),
        (["0", "1", "last"], (12, 16), "last.png: found no number at the end of the name, expected that of the frame"),
        (["0", "1"], (12, 16), "/a: found 2 frames, expected at least 3, a burst"),
        (["0", "1", "2"], (10, 16), "found frames of 16x10 pixels, expected at least 12x12 to measure"),
    ],
)
def test_clips_that_cannot_be_used(tmp_path, names, size, message) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        open_numbered_clip(write_clip(tmp_path / "a", names, *size), HIGH, 3)


def test_frames_that_cannot_be_used(tmp_path) -> None:
    folder = write_clip(tmp_path / "a", ["0", "1", "2", "3"])
    (folder / "0.png").write_bytes(b"nothing")  # not even a header: the size is then that of the next
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:-30])
    write_picture(folder / "3.png", np.zeros((14, 16, 3), np.uint8))
    clip = open_numbered_clip(folder, HIGH, 3)
    clip.check(1)
    for index, message in (
        (0, r"0\.png: not a picture"),
        (2, r"2\.png: truncated or damaged"),
        (3, r"3\.png: found 16x14 pixels, expected 16x12 as in the other frames"),
    ):
        for call in (clip.check, clip.read):
            with pytest.raises(UserError, match=message):
                call(index)


def test_sets_that_cannot_be_used(tmp_path) -> None:
    with pytest.raises(UserError, match=r"none: no such folder, expected one with a folder of pictures per clip"):
        ClipSet(tmp_path / "none", frames=1)
    with pytest.raises(UserError, match=r"found no folder in it, expected a folder of pictures per clip"):
        ClipSet(tmp_path, frames=1)
    folder = write_clip(tmp_path / "a", ["0"])
    (folder / "0.png").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"0\.png: not a picture"):
        ClipSet(tmp_path, frames=1).open("a", HIGH)
