import io
import os
import pickle
import pickletools
import zlib

import cv2
import lmdb
import numpy as np
import pytest

from twostagealign.data import REDS, open_clips
from twostagealign.data.clips.clip_folders import ClipFolders
from twostagealign.runtime.errors import UserError


def put(path, values):
    with lmdb.open(str(path), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return path


def bgr_frames(clips):
    folders = ClipFolders(clips)
    return {
        (clip, number): np.ascontiguousarray(folders.read(clip, i)[..., ::-1])
        for clip, numbers in folders.numbers.items()
        for i, number in enumerate(numbers)
    }


@pytest.fixture
def edvr(clips, tmp_path):
    """As EDVR's create_lmdb writes REDS."""
    frames = bgr_frames(clips)
    keys = [f"{clip}_{number:08d}" for clip, number in frames]
    path = put(tmp_path / "edvr.lmdb", {key: frame.tobytes() for key, frame in zip(keys, frames.values(), strict=True)})
    write_pickle(path, {"name": "REDS_train_wval", "resolution": "3_48_64", "keys": keys})
    return path


@pytest.fixture
def basicsr(clips, tmp_path):
    """As BasicSR's lmdb_util writes REDS."""
    frames = bgr_frames(clips)
    keys = [f"{clip}/{number:08d}" for clip, number in frames]
    pngs = [cv2.imencode(".png", frame, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes() for frame in frames.values()]
    path = put(tmp_path / "basicsr.lmdb", dict(zip(keys, pngs, strict=True)))
    (path / "meta_info.txt").write_text("".join(f"{key}.png (48,64,3) 1\n" for key in keys))
    return path


def write_pickle(path, content):
    (path / "meta_info.pkl").write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))


def expect(action, *words):
    with pytest.raises(UserError) as error:
        action()
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("layout", ["edvr", "basicsr"])
def test_read_as_they_are(clips, make_frame, request, layout):
    path = request.getfixturevalue(layout)
    source = open_clips(path)
    assert source.clips == {"000": 12, "001": 12, "002": 12, "003": 12}
    np.testing.assert_array_equal(source.read("003", 1), make_frame("003", 4))
    crop = source.read("002", 11, slice(40, 48), slice(0, 9))
    np.testing.assert_array_equal(crop, make_frame("002", 11)[40:, :9])
    assert crop.flags.c_contiguous
    ours, theirs = REDS(clips, size=32, length=4), REDS(path, size=32, length=4)
    assert all(theirs[i].equal(ours[i]) for i in range(4))
    assert sorted(file.name for file in path.iterdir()) == ["data.mdb", "lock.mdb", next(path.glob("meta_info.*")).name]


# Pickles


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def malicious(victim):
    """Pickles that make the file `victim` when an ordinary unpickler opens them, or try."""
    command = f"touch {victim}"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.dumps(Call(os.system, command), protocol)
    yield pickle.dumps(
        {"keys": ["000_00000000"], "resolution": "3_48_64", "name": Call(eval, f"open({str(victim)!r}, 'w')")}
    )
    yield pickle.dumps({Call(os.mkdir, str(victim)): 1})
    yield f"(S'{command}'\nios\nsystem\n.".encode()  # INST
    yield f"(cos\nsystem\nS'{command}'\no.".encode()  # OBJ
    yield f"cbuiltins\ngetattr\n(cos\n__dict__\nS'system'\ntR(S'{command}'\ntR.".encode()


def test_a_malicious_pickle_does_not_run(edvr, tmp_path):
    victim = tmp_path / "victim"
    ran = 0
    for content in malicious(victim):
        write_pickle(edvr, content)
        expect(lambda: open_clips(edvr), f"{edvr}/meta_info.pkl: refused (it asks for ", "expected plain containers")
        assert not victim.exists()
        try:  # an ordinary unpickler does run it: these pickles are what they are meant to be
            pickle.loads(content)
        except Exception:
            continue
        ran += 1
        (victim.rmdir if victim.is_dir() else victim.unlink)()
    assert ran >= 8


def test_persistent_ids_and_extension_codes_are_refused(edvr):
    for content in (b"Pvictim\n.", b"\x80\x02U\x01aQ.", b"\x80\x02\x82\x01."):
        pickletools.dis(content, io.StringIO())
        write_pickle(edvr, content)
        expect(lambda: open_clips(edvr), "meta_info.pkl: refused")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x04)r\xff\xff\xff\x1f.", "asks for 536870911 places in memory"),
        (b"(dp536870911\n.", "asks for 536870911 places in memory"),
        (b"\x80\x05\x96" + (2**40).to_bytes(8, "little") + b".", "refused"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "refused"),
        (b"\x80\x02}" + b")" + b"\x85" * 10**6 + b"K\x01s.", "more than 1000 tuples"),
        ({"keys": ["\ud800_0"], "resolution": "3_48_64"}, "found key "),
        ({"keys": ["a_" + "9" * 5000], "resolution": "3_48_64"}, "found key 'a_999"),
        ({"keys": ["a\n_0"], "resolution": "3_48_64"}, "found key "),
        ({"keys": ["000_00000000"], "resolution": "3_" + "9" * 5000 + "_64"}, "resolution: found 3_999"),
        (b"\x80\x02}(X\x04\0\0\0keys]X\x0c\0\0\x00000_00000000aX\n\0\0\0resolution" + b"]" * 10**5
            + b"a" * (10**5 - 1) + b"u.", "resolution: found no string"),
    ],
    ids=range(10),
)  # fmt: skip
def test_pickles_that_ask_for_too_much(edvr, content, words):
    write_pickle(edvr, content)
    expect(lambda: open_clips(edvr), f"{edvr}/meta_info.pkl: ", words)


def test_plain_content_of_every_protocol(edvr, make_frame):
    meta = pickle.loads((edvr / "meta_info.pkl").read_bytes())
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        write_pickle(edvr, pickle.dumps({**meta, "resolution": ["3_48_64"], "more": (1, 2.5, None, True)}, protocol))
        np.testing.assert_array_equal(open_clips(edvr).read("000", 3), make_frame("000", 3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "refused"),
        (b"no pickle", "refused"),
        (pickle.dumps({"keys": ["a"] * 9})[:20], "refused"),
        ([1], "found no list of strings under 'keys'"),
        ({"keys": "000_00000000", "resolution": "3_48_64"}, "found no list of strings under 'keys'"),
        ({"keys": [], "resolution": "3_48_64"}, "found no list of strings under 'keys'"),
        ({"keys": ["first"], "resolution": "3_48_64"}, "found key 'first', expected clip and frame number"),
        ({"keys": ["000_00000000", "000_00000002"], "resolution": "3_48_64"}, "found 2 frames numbered 0 to 2"),
        ({"keys": ["000_00000000"]}, "resolution: found no string, expected"),
        ({"keys": ["000_00000000"], "resolution": "48x64"}, "resolution: found 48x64, expected"),
        ({"keys": ["000_00000000"], "resolution": ["3_48_64", "3_8_8"]}, "resolution: found 3_48_64, 3_8_8, expected"),
        ({"keys": ["000_00000000"], "resolution": []}, "resolution: found no string, expected"),
        ({"keys": ["000_00000000"], "resolution": "1_48_64"}, "found 64x48 pixels of 1 channels, expected RGB"),
        ({"keys": ["000_00000000"], "resolution": "3_47_64"}, "found 9216 bytes, expected 9024: 64x47"),
        ({"keys": ["004_00000000"], "resolution": "3_48_64"}, "found no key 004_00000000"),
    ],
    ids=str,
)  # fmt: skip
def test_errors_of_edvr(edvr, content, words):
    write_pickle(edvr, content)
    expect(lambda: open_clips(edvr), str(edvr), words)


# BasicSR


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "found 0 sizes"),
        ("000/00000000.png\n", "line 1: found '000/00000000.png', expected"),
        ("000/00000000.png (48,64,3) 1\nfirst.png (48,64,3) 1\n", "found key 'first', expected clip and frame number"),
        ("000/00000000.png (48,64,3) 1\n000/00000001.png (48,60,3) 1\n", "found 2 sizes of frames"),
        ("000/00000000.png (48,64,1) 1\n", "found 64x48 pixels of 1 channels"),
        ("000/00000000.png (48,60,3) 1\n", "found 64x48 pixels, expected 60x48 as meta_info.txt says"),
        ("000/00000000.png (48,64,3) 1\n000/00000002.png (48,64,3) 1\n", "clip 000: found 2 frames numbered 0 to 2"),
        ("000/00000000.png (48,64,3) 1\n004/00000000.png (48,64,3) 1\n", "found no key 004/00000000"),
    ],
)
def test_errors_of_basicsr(basicsr, text, words):
    (basicsr / "meta_info.txt").write_text(text)
    expect(lambda: open_clips(basicsr), str(basicsr), words)


def test_bytes_that_are_no_picture(basicsr, capfd):
    bomb = bytearray(cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    bomb[16:24] = (8000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    jpeg = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))[1].tobytes()
    png = bytearray(cv2.imencode(".png", np.zeros((48, 64, 3), np.uint8))[1].tobytes())
    png[-20] ^= 255
    values = {"001/00000003": b"no picture", "001/00000004": b"", "001/00000005": bytes(bomb), "001/00000006": jpeg}
    put(basicsr, values | {"001/00000007": bytes(png)})
    source = open_clips(basicsr)
    for frame in (3, 4):
        expect(lambda frame=frame: source.read("001", frame), f"key 001/0000000{frame}: found no picture")
    expect(lambda: source.read("001", 5), "key 001/00000005: found 8000x8000 pixels, expected 64x48")
    expect(lambda: source.read("001", 6), "key 001/00000006: found no picture, expected a PNG or WebP")
    expect(lambda: source.read("001", 7), "key 001/00000007: damaged picture")
    assert capfd.readouterr().err == ""  # nor does the decoder say anything by itself
    (basicsr / "meta_info.txt").write_bytes(b"\xff\xfe")
    expect(lambda: open_clips(basicsr), "meta_info.txt: cannot be read")
