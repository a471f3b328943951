import numpy as np
import pytest

from twostagealign.data import ClipSource, open_clips
from twostagealign.data.clips.clip_folders import ClipFolders
from twostagealign.data.pictures import write_picture
from twostagealign.runtime.errors import UserError


def test_frames_and_crops(clips, make_frame):
    folders = ClipFolders(clips)
    assert folders.clips == {"000": 12, "001": 12, "002": 12, "003": 12}
    assert folders.numbers["003"] == range(3, 15)
    assert (folders.height, folders.width) == (48, 64)
    np.testing.assert_array_equal(folders.read("003", 2), make_frame("003", 5))
    crop = folders.read("001", 0, slice(3, 10), slice(50, 60))
    np.testing.assert_array_equal(crop, make_frame("001", 0)[3:10, 50:60])
    assert crop.flags.c_contiguous


def test_order_is_that_of_the_numbers(tmp_path, make_frame):
    (tmp_path / "a").mkdir()
    for number in (8, 9, 10):
        write_picture(tmp_path / "a" / f"{number}.png", make_frame("000", number))
    folders = ClipFolders(tmp_path)
    assert [folders.read("a", i)[0, 0, 2] for i in range(3)] == [8, 9, 10]


def expect(path, *words):
    with pytest.raises(UserError) as error:
        open_clips(path)
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_errors_name_the_folder(tmp_path, make_clips, make_frame):
    expect(tmp_path / "none", "none: no such folder")
    expect(tmp_path, f"{tmp_path}: found no folder in it, expected a folder of pictures per clip")
    make_clips(tmp_path, {"000": range(3)})
    (tmp_path / "001").mkdir()
    expect(tmp_path, "001: no picture in this folder")
    write_picture(tmp_path / "001/first.png", make_frame("001", 0))
    expect(tmp_path, "first.png: found no frame number")
    (tmp_path / "001/first.png").unlink()
    (tmp_path / "001").rmdir()
    (tmp_path / "000/00000001.png").unlink()
    expect(tmp_path, "000: found 00000002.png where frame 1 belongs")


def test_frame_of_another_size(tmp_path, make_clips, make_frame):
    make_clips(tmp_path, {"000": range(3)})
    write_picture(tmp_path / "000/00000002.png", make_frame("000", 2, 40, 64))
    folders: ClipSource = ClipFolders(tmp_path)
    with pytest.raises(UserError, match=r"00000002\.png: found 64x40 pixels, expected 64x48 as in .*00000000\.png$"):
        folders.read("000", 2)
