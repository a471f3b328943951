import logging
import os
from pathlib import Path

import numpy as np
import pytest

from twostagealign.data.camera.raw_folder import open_raw_folder
from twostagealign.data.clips.clip import open_clip
from twostagealign.data.degradation import PROTOCOL_NOISE
from twostagealign.data.frame_files import list_files, list_folders, list_frames, list_pictures, warn_about_numbering
from twostagealign.data.pictures import write_picture
from twostagealign.runtime.errors import UserError

HIGH = PROTOCOL_NOISE["high"]


@pytest.fixture
def make(tmp_path):
    """Makes empty files and returns their folder."""

    def touch(*names: str) -> Path:
        for name in names:
            (tmp_path / name).touch()
        return tmp_path

    return touch


def refusal(folder: Path, listed=list_frames) -> str:
    with pytest.raises(UserError) as caught:
        listed(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "names",
    [
        [f"frame_{number}.png" for number in range(1, 12)],
        ["10.TIF", "a2b1.png", "a2b10.png", "a10b1.jpeg", "b.PNG"],
        ["7.bmp", "007.png", "8.png"][1:],
    ],
)
def test_files_are_listed_in_natural_order(make, names) -> None:
    folder = make(*reversed(names), ".hidden.png")
    assert [path.name for path in list_pictures(folder)] == names


def test_files_of_other_kinds_are_named_in_a_warning(make, caplog) -> None:
    folder = make("0.png", "1.png", "notes.txt", "camera.yml", ".DS_Store", *(f"{i}.json" for i in range(6)))
    (folder / "more").mkdir()
    list_frames(folder)
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: not used, not pictures: 0.json, 1.json, 2.json, 3.json, 4.json and 2 more",
        f"{folder}: not used, folders: more",
    ]


def test_raw_files_mixed_with_pictures_are_refused(make) -> None:
    folder = make("0.dng", "1.DNG", "2.dng", "3.png", "4.png", "camera.yml")
    expected = f"{folder}: 3 DNG and 2 PNG files, raw files mixed with pictures; remove one kind"
    for listed in (list_frames, list_pictures, open_raw_folder, lambda folder: open_clip(folder, HIGH)):
        assert refusal(folder, listed) == expected


def test_raw_files_where_pictures_are_expected(make) -> None:
    folder = make("0.dng", "1.dng")
    assert refusal(folder, list_pictures) == f"{folder}: raw files (0.dng, 1.dng), expected a folder of pictures"


def test_what_is_no_file_in_place_of_a_frame_is_refused(make) -> None:
    folder = make("0000.png", "0001.png")
    path = folder / "0002.png"
    path.symlink_to("nowhere.png")
    assert refusal(folder) == f"{path}: a link to no file in place of a picture; replace or remove it"
    path.unlink()
    path.mkdir()
    assert refusal(folder).startswith(f"{path}: a folder in place of a picture")
    path.rmdir()
    os.mkfifo(path)
    assert refusal(folder).startswith(f"{path}: a pipe or a device in place of a picture")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m", "\udcff", "a\u2028"])
def test_names_that_cannot_be_printed_are_refused(make, name) -> None:
    """Results, which are JSON, CSV and text on the screen, name frames and clips."""
    folder = make("0.png", f"{name}.png")
    assert refusal(folder).endswith("a name that cannot be printed; rename it")
    (folder / name).mkdir()
    with pytest.raises(UserError, match=r"a name that cannot be printed; rename it$"):
        list_folders(folder, "clips")


def test_names_in_any_script_are_accepted(make) -> None:
    names = ["0\u202fPM.png", "1é.png", "2写真\u3000.png"]
    assert [path.name for path in list_pictures(make(*names))] == names


def test_a_camera_file_beside_ordinary_pictures_is_named(make, caplog) -> None:
    folder = make("0.png", "camera.yml")
    list_pictures(folder)
    assert caplog.messages == [f"{folder}: not used: camera.yml, which describes raw frames"]


def test_folders_without_frames_are_refused(make) -> None:
    folder = make("notes.txt")
    assert refusal(folder / "none") == f"{folder}/none: no such folder, expected a folder of pictures"
    assert refusal(folder / "notes.txt") == f"{folder}/notes.txt: is a file, expected a folder of pictures"
    assert refusal(Path("/dev/null")) == "/dev/null: is not a folder, expected a folder of pictures"
    assert refusal(folder).startswith(f"{folder}: no picture in this folder, expected files *.png, *.jpg")
    (folder / "burst10").mkdir()
    (folder / "burst9").mkdir()
    assert refusal(folder).endswith("; it contains folders (burst9, burst10): give one of them")


def test_list_files_of_another_kind(make, caplog) -> None:
    folder = make("1.mat", "10.MAT", "9.mat", "a.png")
    assert [path.name for path in list_files(folder, (".mat",), ".mat file")] == ["1.mat", "9.mat", "10.MAT"]
    assert "not used, not .mat files: a.png" in caplog.text


def test_list_folders(make, caplog) -> None:
    folder = make("notes.txt", ".hidden")
    for name in ("clip10", "clip9", ".git"):
        (folder / name).mkdir()
    assert list_folders(folder, "a folder per clip") == ["clip9", "clip10"]
    assert caplog.messages == [f"{folder}: not used, not folders: notes.txt"]
    with pytest.raises(UserError, match="clip9: found no folder in it, expected a folder per clip"):
        list_folders(folder / "clip9", "a folder per clip")
    with pytest.raises(UserError, match="none: no such folder, expected one with a folder per clip"):
        list_folders(folder / "none", "a folder per clip")


@pytest.mark.parametrize(
    ("names", "warnings"),
    [
        (["1", "2", "3"], []),
        (["frame_08", "frame_09", "frame_10"], []),
        (["a", "b"], []),
        (["one"], []),
        (["IMG_20260102_101112", "IMG_20260102_101115", "IMG_20260102_101131"], []),  # times of day
        (["IMG_7_RAW", "IMG_8_RAW", "IMG_9_RAW"], []),
        (["10", "20", "30"], []),
        (["1", "2", "4", "5"], ["1 frame missing, found 4.png after 2.png"]),
        (["f_1", "f_2", "f_3", "f_7"], ["3 frames missing, found f_7.png after f_3.png"]),
        (["01", "1", "2", "3"], ["a frame number twice, found 1.png after 01.png"]),
        (["a_1", "a_2", "b_3"], ["frame names of several schemes (a_1.png, b_3.png), used in natural order"]),
        (["0", "1", "last"], ["frame names of several schemes (0.png, last.png), used in natural order"]),
    ],
)
def test_gaps_and_mixed_names_are_said(tmp_path, caplog, names, warnings) -> None:
    warn_about_numbering([tmp_path / f"{name}.png" for name in names])
    assert caplog.messages == [f"{tmp_path}: {warning}" for warning in warnings]
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_opening_a_clip_says_that_a_frame_is_missing(tmp_path, caplog) -> None:
    for number in (1, 2, 4):
        write_picture(tmp_path / f"{number}.png", np.zeros((12, 12, 3), np.uint8))
    open_clip(tmp_path, HIGH)
    assert "1 frame missing, found 4.png after 2.png" in caplog.text
