"""Vimeo90K and other trees of clips as training sets."""

import logging
import pickle
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from twostagealign.data import VideoClips, Vimeo90K, check_no_overlap, open_clips, write_picture, write_store
from twostagealign.options import DATASETS, build
from twostagealign.runtime.errors import UserError

CLIPS = {"00001/0001": 1, "00001/0002": 2, "00002/0001": 3}


@pytest.fixture
def vimeo(tmp_path: Path, make_frame) -> Path:
    """Three septuplets in the layout of Vimeo90K; two are in sep_trainlist.txt."""
    root = tmp_path / "vimeo_septuplet"
    for clip, number in CLIPS.items():
        (root / "sequences" / clip).mkdir(parents=True)
        for frame in range(1, 8):
            write_picture(root / "sequences" / clip / f"im{frame}.png", make_frame(str(number), frame))
    (root / "sep_trainlist.txt").write_text("00001/0001\n00002/0001\n\n")
    (root / "sep_testlist.txt").write_text("00001/0002\n")
    return root


def marks(bursts: VideoClips, index: int) -> list[int]:
    """Blue values of the frames of a burst: 16 times the clip's number, plus the frame's."""
    return bursts[index][:, 2, 0, 0].tolist()


def test_the_listed_clips_are_used_and_the_others_are_said(vimeo: Path, caplog: pytest.LogCaptureFixture) -> None:
    for source in (vimeo, vimeo / "sequences"):
        bursts = Vimeo90K(source, frames=7, size=32, augment=False)
        assert bursts.clips == ["00001/0001", "00002/0001"]
        assert [marks(bursts, i) for i in range(2)] == [[16 + i for i in range(1, 8)], [48 + i for i in range(1, 8)]]
    write_store(vimeo / "sequences", vimeo / "all.lmdb")
    with caplog.at_level(logging.INFO):
        stored = Vimeo90K(vimeo / "all.lmdb", frames=7, size=32, augment=False)
    assert stored.clips == bursts.clips
    assert all(stored[i].equal(bursts[i]) for i in range(2))
    assert "1 of 3 clips not used, not in " in caplog.text
    assert "sep_trainlist.txt" in caplog.text


def test_bursts_of_five_are_drawn_from_septuplets(vimeo: Path) -> None:
    bursts = Vimeo90K(vimeo, size=32, length=60)
    starts = {marks(bursts, i)[0] for i in range(60)}
    assert starts == {16 + 1, 16 + 2, 16 + 3, 48 + 1, 48 + 2, 48 + 3}


def test_test_clips_validate(vimeo: Path) -> None:
    training = build(DATASETS, {"type": "Vimeo90K", "source": str(vimeo), "size": 32})
    node = {"type": "Vimeo90K", "source": str(vimeo), "size": 32, "augment": False}
    check_no_overlap(training, build(DATASETS, node | {"clip_list": str(vimeo / "sep_testlist.txt")}))
    with pytest.raises(UserError, match=r"^datasets\.val: 00002/0001 of .* are in the training set"):
        check_no_overlap(training, build(DATASETS, node | {"clips": ["00001/0002", "00002/0001"]}))


def test_without_a_list_all_clips_are_used_and_it_is_said(vimeo: Path, caplog: pytest.LogCaptureFixture) -> None:
    (vimeo / "sep_trainlist.txt").unlink()
    assert Vimeo90K(vimeo, size=32).clips == list(CLIPS)
    assert "found no sep_trainlist.txt in it or beside it; all clips are used" in caplog.text


def test_a_tree_of_any_depth(vimeo: Path, caplog: pytest.LogCaptureFixture) -> None:
    (vimeo / "sequences" / "00001" / "notes.txt").touch()
    bursts = VideoClips(vimeo / "sequences", size=32, exclude=["00001/0002"])
    assert bursts.clips == ["00001/0001", "00002/0001"]
    assert "not used, not folders: notes.txt" in caplog.text
    listed = VideoClips(vimeo / "sequences", size=32, clip_list=vimeo / "sep_testlist.txt")
    assert listed.clips == ["00001/0002"]


@pytest.mark.parametrize("layout", ["edvr", "basicsr"])
def test_lmdbs_of_other_programs(vimeo: Path, layout: str, make_frame) -> None:
    path = vimeo / "train.lmdb"
    keys = {}
    with lmdb.open(str(path), map_size=2**24) as environment, environment.begin(write=True) as transaction:
        for clip, number in CLIPS.items():
            for frame in range(1, 8):
                bgr = cv2.cvtColor(make_frame(str(number), frame), cv2.COLOR_RGB2BGR)
                key = f"{clip}/im{frame}" if layout == "basicsr" else f"{clip.replace('/', '_')}_{frame}"
                keys[key] = cv2.imencode(".png", bgr)[1].tobytes() if layout == "basicsr" else bgr.tobytes()
                transaction.put(key.encode(), keys[key])
    if layout == "basicsr":
        (path / "meta_info.txt").write_text("".join(f"{key}.png (48,64,3) 1\n" for key in keys))
    else:
        (path / "meta_info.pkl").write_bytes(pickle.dumps({"keys": list(keys), "resolution": "3_48_64"}))
    bursts, expected = Vimeo90K(path, size=32, length=10), Vimeo90K(vimeo, size=32, length=10)
    assert len(bursts.clips) == 2
    assert all(bursts[i].equal(expected[i]) for i in range(10))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "sep_trainlist.txt: empty, expected a text file with the name of a clip in each line"),
        ("00001/0001\n../other\n", "line 2: found '../other', expected a clip's name, such as 00001/0001"),
        ("/etc\n", "line 1: found '/etc', expected a clip's name"),
        ("00001/0009\n", "0009: no such folder, expected a folder of pictures"),
    ],
)
def test_mistakes_in_the_list_are_one_line(vimeo: Path, text: str, problem: str) -> None:
    (vimeo / "sep_trainlist.txt").write_text(text)
    with pytest.raises(UserError) as caught:
        Vimeo90K(vimeo, size=32)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_listed_clip_that_an_lmdb_lacks(vimeo: Path) -> None:
    write_store(vimeo / "sequences", vimeo / "all.lmdb")
    (vimeo / "sep_trainlist.txt").write_text("00001/0001\n00001/0009\n")
    with pytest.raises(UserError, match=r"all\.lmdb: lacks 1 of the clips in .*, such as 00001/0009; remove"):
        Vimeo90K(vimeo / "all.lmdb", size=32)


def test_a_link_that_leads_back_is_refused(vimeo: Path) -> None:
    (vimeo / "sequences" / "00001" / "again").symlink_to(vimeo / "sequences")
    with pytest.raises(UserError, match=r"again.*: a link to a folder that contains it; remove it$"):
        open_clips(vimeo / "sequences")


def test_frames_keep_their_order_beyond_nine(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for number in range(8, 12):
        write_picture(tmp_path / "a" / "b" / f"shot{number}.png", np.full((16, 16, 3), number, np.uint8))
    source = open_clips(tmp_path)
    assert [int(source.read("a/b", i)[0, 0, 0]) for i in range(4)] == [8, 9, 10, 11]
