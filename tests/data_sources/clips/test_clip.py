import numpy as np
import pytest
import torch

from twostagealign.data.clips.clip import ClipInMemory, open_clip
from twostagealign.data.degradation import PROTOCOL_NOISE, degrade_by_protocol
from twostagealign.data.pictures import write_picture
from twostagealign.runtime.errors import UserError

HIGH = PROTOCOL_NOISE["high"]


def test_clip_reads_frames_in_natural_order(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (11, 12, 16, 3), dtype=np.uint8)
    for number in reversed(range(11)):
        write_picture(tmp_path / f"frame_{number}.png", pictures[number])
    (tmp_path / "notes.txt").touch()
    clip = open_clip(tmp_path, HIGH)
    assert clip.frames == [f"frame_{number}" for number in range(11)]
    assert (clip.name, clip.size, list(clip.references)) == (tmp_path.name, (6, 8), list(range(11)))
    for index in (2, 10):
        assert clip.picture(index).dtype == torch.uint8
        np.testing.assert_array_equal(clip.picture(index).permute(1, 2, 0), pictures[index])
        frame = clip.read(index)
        np.testing.assert_array_equal(frame.clean, clip.picture(index))
        # The noise belongs to the place in the clip.
        assert torch.equal(frame.planes, degrade_by_protocol(clip.picture(index), HIGH, index + 1).planes)


def test_clip_in_memory_is_degraded_as_files_are(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 12, 16, 3), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        write_picture(tmp_path / f"{number}.png", picture)
    files = open_clip(tmp_path, HIGH)
    memory = ClipInMemory("three", torch.from_numpy(pictures[1:]).permute(0, 3, 1, 2), HIGH, first_number=2)
    assert (memory.frames, memory.size, list(memory.references)) == (["2", "3"], (6, 8), [0, 1])
    for index in (0, 1):
        assert torch.equal(memory.read(index).planes, files.read(index + 1).planes)


def test_odd_sides_are_cut_to_even(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (13, 17, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.png", picture)
    clip = open_clip(tmp_path, HIGH)
    assert clip.size == (6, 8)
    np.testing.assert_array_equal(clip.picture(0).permute(1, 2, 0), picture[:12, :16])


def test_a_single_picture_is_a_clip(tmp_path):
    write_picture(tmp_path / "a.png", np.zeros((12, 16, 3), np.uint8))
    write_picture(tmp_path / "b.png", np.zeros((14, 18, 3), np.uint8))
    clip = open_clip(tmp_path / "a.png", HIGH)
    assert (clip.name, clip.frames) == ("a", ["a"])


def test_clip_errors(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        open_clip(tmp_path / "none", HIGH)
    with pytest.raises(UserError, match="no picture"):
        open_clip(tmp_path, HIGH)
    write_picture(tmp_path / "a.png", np.zeros((12, 10, 3), np.uint8))
    with pytest.raises(UserError, match=r"found frames of 10x12 pixels, expected at least 12x12 to measure"):
        open_clip(tmp_path, HIGH)
    write_picture(tmp_path / "a.png", np.zeros((12, 16, 3), np.uint8))
    write_picture(tmp_path / "b.png", np.zeros((12, 17, 3), np.uint8))
    with pytest.raises(UserError, match=r"b\.png: found 17x12 pixels, expected 16x12 as in a\.png"):
        open_clip(tmp_path, HIGH)
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    write_picture(tmp_path / "b.png", noise)
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[:-20])
    clip = open_clip(tmp_path, HIGH)
    for use in (clip.picture, clip.check, clip.read):
        with pytest.raises(UserError, match=r"b\.png: truncated"):
            use(1)
