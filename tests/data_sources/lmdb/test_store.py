import hashlib
import json
import multiprocessing
import os
import pickle
import resource
import shutil
import signal
import time
from types import SimpleNamespace

import lmdb
import numpy as np
import pytest

from twostagealign.data import open_clips, verify_store, write_store
from twostagealign.data.clips.clip_folders import ClipFolders
from twostagealign.data.lmdb import writer
from twostagealign.runtime.errors import UserError

COMPRESSIONS = ("none", "png", "webp")


@pytest.fixture(scope="module")
def stores(clips, tmp_path_factory):
    """A finished store of each compression."""
    folder = tmp_path_factory.mktemp("stores")
    for compression in COMPRESSIONS:
        write_store(clips, folder / compression, compression)
    return folder


@pytest.fixture
def store(stores, tmp_path):
    """Copies a store, to be damaged."""
    return lambda compression="none": shutil.copytree(stores / compression, tmp_path / f"{compression}.lmdb")


def edit(path, change):
    with lmdb.open(str(path), map_size=2**26) as environment, environment.begin(write=True) as transaction:
        change(transaction)


def edit_meta(path, change):
    meta = json.loads((path / "meta_info.json").read_text())
    change(meta)
    (path / "meta_info.json").write_text(json.dumps(meta))


def expect(action, *words):
    with pytest.raises(UserError) as error:
        action()
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_frame_comes_back(clips, stores, make_frame, compression):
    folders, source = ClipFolders(clips), open_clips(stores / compression)
    assert source.clips == folders.clips
    assert (source.height, source.width) == (48, 64)
    for clip, numbers in folders.numbers.items():
        for i, number in enumerate(numbers):
            np.testing.assert_array_equal(source.read(clip, i), make_frame(clip, number))
    crop = source.read("003", 4, slice(5, 30), slice(7, 64))
    np.testing.assert_array_equal(crop, make_frame("003", 7)[5:30, 7:])
    assert crop.flags.c_contiguous
    assert crop.flags.writeable
    assert sorted(file.name for file in (stores / compression).iterdir()) == ["data.mdb", "meta_info.json"]


def test_what_lies_in_the_database(stores, make_frame):
    with lmdb.open(str(stores / "none"), readonly=True, lock=False) as environment, environment.begin() as transaction:
        keys = list(transaction.cursor().iternext(values=False))
        assert len(keys) == 48
        assert keys[0] == b"000_00000000"
        assert keys[-1] == b"003_00000014"
        assert transaction.get(b"003_00000014") == make_frame("003", 14).tobytes()


def test_meta_info(stores, make_frame):
    meta = {
        compression: json.loads((stores / compression / "meta_info.json").read_text()) for compression in COMPRESSIONS
    }
    assert meta["png"]["count"] == 48
    assert meta["png"]["frame"] == {"height": 48, "width": 64, "channels": 3, "compression": "png"}
    digests = b"".join(hashlib.sha256(make_frame("003", number).tobytes()).digest() for number in range(3, 15))
    assert meta["none"]["clips"]["003"] == {"first": 3, "frames": 12, "checksum": hashlib.sha256(digests).hexdigest()}
    assert meta["none"]["clips"] == meta["png"]["clips"] == meta["webp"]["clips"]


def test_as_many_clips_as_reds(tmp_path, make_clips, make_frame):
    names = [f"{i:03d}" for i in range(270) if i not in (0, 11, 15, 20)]
    make_clips(tmp_path / "clips", {name: range(2) for name in names}, 8, 12)
    assert write_store(tmp_path / "clips", tmp_path / "store").count == 2 * 266
    assert verify_store(tmp_path / "store").count == 2 * 266
    source = open_clips(tmp_path / "store")
    assert list(source.clips) == names
    for name in names:
        np.testing.assert_array_equal(source.read(name, 1), make_frame(name, 1, 8, 12))


# Killing, and going on

SEVEN_FRAMES = 60_000
"""Bytes: frames are committed seven at a time."""


def killed(monkeypatch, action, kill_in, calls):
    """Run in another process, which is killed when it calls writer.`kill_in` for the `calls`-th time."""
    original, count = getattr(writer, kill_in), 0

    def wrapped(*arguments):
        nonlocal count
        count += 1
        if count == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(writer, kill_in, wrapped)
        process = multiprocessing.get_context("fork").Process(target=action)
        process.start()
        process.join(60)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("kill_in", "calls", "present"), [("commit_frames", 4, 21), ("encode_frame", 30, None), ("write_info", 1, 48)]
)
def test_goes_on_after_a_kill(clips, stores, tmp_path, monkeypatch, kill_in, calls, present):
    path = tmp_path / "store"
    killed(monkeypatch, lambda: write_store(clips, path, commit_bytes=SEVEN_FRAMES), kill_in, calls)
    expect(lambda: open_clips(path), f"{path}: found no meta_info.json: unfinished, run", "again")
    expect(lambda: verify_store(path), "unfinished")

    encoded = []
    monkeypatch.setattr(
        writer,
        "encode_frame",
        lambda rgb, compression, do=writer.encode_frame: encoded.append(1) or do(rgb, compression),
    )
    info = write_store(clips, path)
    assert present is None or len(encoded) == 48 - present
    assert len(encoded) < 48
    assert (path / "meta_info.json").read_text() == (stores / "none/meta_info.json").read_text()
    assert verify_store(path) == info
    assert not (path / "unfinished.json").exists()


def test_two_kills(clips, tmp_path, monkeypatch):
    path = tmp_path / "store"
    for calls in (2, 2):
        killed(monkeypatch, lambda: write_store(clips, path, "png", SEVEN_FRAMES), "encode_frame", 10 * calls)
    write_store(clips, path, "png")
    assert verify_store(path).count == 48


def test_a_finished_store_is_left_alone(clips, store):
    path = store()
    before = (path / "data.mdb").stat().st_mtime_ns
    assert write_store(clips, path).count == 48
    assert (path / "data.mdb").stat().st_mtime_ns == before
    expect(lambda: write_store(clips, path, "png"), "found a finished store", "compression none", "delete it")


def test_an_unfinished_store_of_something_else(clips, make_clips, tmp_path, monkeypatch):
    path = tmp_path / "store"
    killed(monkeypatch, lambda: write_store(clips, path, commit_bytes=SEVEN_FRAMES), "commit_frames", 3)
    expect(
        lambda: write_store(clips, path, "webp"), "found an unfinished store", "compression none", "expected", "webp"
    )
    others = make_clips(tmp_path / "others", {"001": range(4)})
    expect(lambda: write_store(others, path), f"{path}: unfinished store of another source", "delete it")
    os.truncate(path / "data.mdb", 40960)
    expect(lambda: write_store(clips, path), "data.mdb: truncated")


def test_an_interrupted_store_does_not_take_frames_of_another_source(clips, make_clips, tmp_path, monkeypatch):
    path, other = tmp_path / "store", tmp_path / "other"
    shutil.copytree(clips, other)
    picture = other / "003/00000014.png"  # one of the last, which an interrupted run has not written yet
    picture.write_bytes((other / "003/00000013.png").read_bytes())
    killed(monkeypatch, lambda: write_store(clips, path, commit_bytes=SEVEN_FRAMES), "commit_frames", 3)
    expect(lambda: write_store(other, path), f"{path}: unfinished store of another source", str(other), "delete it")
    write_store(clips, path)
    verify_store(path)


def test_a_finished_store_is_not_taken_for_that_of_another_source(store, make_clips, tmp_path):
    path = store()
    ranges = {"000": range(12), "001": range(12), "002": range(1, 13), "003": range(3, 15)}
    other = make_clips(tmp_path / "other", ranges)
    for number in range(12):  # numbered alike, but the pictures are others
        (other / f"002/{number + 1:08d}.png").rename(other / f"002/{number:08d}.png")
    expect(lambda: write_store(other, path), f"{path}: finished store of another source", "clip 002", "delete it")


def test_the_mark_of_an_earlier_version_names_no_source(clips, tmp_path):
    (tmp_path / "unfinished.json").write_text('{"height":48,"width":64,"channels":3,"compression":"none"}')
    expect(lambda: write_store(clips, tmp_path), "unfinished.json: damaged, or of an earlier version; delete")


def test_clips_whose_names_cannot_be_printed(make_clips, tmp_path):
    make_clips(tmp_path / "clips", {"000": range(2)})
    (tmp_path / "clips/000").rename(tmp_path / "clips/0\n1")
    expect(lambda: write_store(tmp_path / "clips", tmp_path / "store"), "a name that cannot be printed")
    assert not (tmp_path / "store").exists()


def test_a_folder_with_other_things_in_it(clips, tmp_path):
    (tmp_path / "precious.txt").touch()
    expect(lambda: write_store(clips, tmp_path), "found precious.txt in it, expected an empty folder")
    expect(lambda: write_store(clips, tmp_path / "precious.txt"), "precious.txt: File exists")


def test_a_full_disk_leaves_what_can_be_gone_on_with(clips, tmp_path):
    path = tmp_path / "store"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, limits[1]))
    try:
        expect(lambda: write_store(clips, path, commit_bytes=SEVEN_FRAMES), f"{path}: cannot be written")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    write_store(clips, path)
    assert verify_store(path).count == 48


def test_too_little_space_is_noticed_at_once(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    expect(lambda: write_store(clips, tmp_path / "store"), f"{tmp_path}/store: found 0.0 GB of disk space, expected ")


@pytest.mark.parametrize("damage", ["truncated", "another size"])
def test_a_damaged_picture_in_the_input(tmp_path, make_clips, make_frame, damage):
    make_clips(tmp_path / "clips", {"000": range(4)})
    file = tmp_path / "clips/000/00000002.png"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:60])
    else:
        shutil.copy(make_clips(tmp_path / "small", {"000": range(1)}, 8, 8) / "000/00000000.png", file)
    expect(lambda: write_store(tmp_path / "clips", tmp_path / "store"), "00000002.png: ")


# Damaged stores


def test_missing_key(store):
    path = store()
    edit(path, lambda transaction: transaction.delete(b"001_00000003"))
    expect(lambda: open_clips(path), f"{path}: found no key 001_00000003, expected what meta_info.json says")


def test_truncated_file(store):
    path = store()
    size = (path / "data.mdb").stat().st_size
    for length in (size - 4096, size // 2, 8192):
        os.truncate(path / "data.mdb", length)
        expect(lambda: open_clips(path), f"{path}/data.mdb: truncated: found {length} bytes, expected at least")
    for length in (5000, 100, 0):
        os.truncate(path / "data.mdb", length)
        expect(lambda: open_clips(path), str(path))
    (path / "data.mdb").write_bytes(bytes(range(256)) * 100)
    expect(lambda: open_clips(path), f"{path}: not a readable LMDB")
    (path / "data.mdb").unlink()
    expect(lambda: open_clips(path), f"{path}/data.mdb: no such file, expected an LMDB")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_wrong_size_in_meta_info(store, compression):
    path = store(compression)
    edit_meta(path, lambda meta: meta["frame"].update(height=47))
    expect(lambda: open_clips(path), f"{path}: key 000_00000000: found ", "64x47", "as meta_info.json says")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda meta: meta.update(count=47), "count: found 47, expected 48"),
        (lambda meta: meta["clips"]["000"].update(frames="many"), "clips.000.frames: found"),
        (lambda meta: meta["frame"].update(compression="jpeg"), "frame.compression: found 'jpeg', expected 'none'"),
        (lambda meta: meta.update(version=2), "version: found 2, expected 1"),
        (lambda meta: meta.pop("clips"), "clips: missing"),
        (lambda meta: meta.update(clips={}), "clips: "),
        (lambda meta: (meta["clips"].pop("000"), meta.update(count=36)), "count: found 36, expected 48"),
    ],
)
def test_other_errors_in_meta_info(store, change, words):
    path = store()
    edit_meta(path, change)
    expect(lambda: open_clips(path), f"{path}/meta_info.json: {words}")


def test_a_promise_of_many_frames_costs_nothing(store):
    path = store()
    edit_meta(path, lambda meta: meta.update(count=2_000_000_036))
    edit_meta(path, lambda meta: meta["clips"]["000"].update(frames=2_000_000_000))
    started = time.monotonic()
    for action in (open_clips, verify_store):
        expect(lambda action=action: action(path), f"{path}: found no key 000_00000012, expected what meta_info.json")
    assert time.monotonic() - started < 10


def test_pipes_are_refused_and_do_not_block(clips, store, tmp_path):
    path = store()
    (path / "data.mdb").unlink()
    os.mkfifo(path / "data.mdb")
    expect(lambda: open_clips(path), f"{path}/data.mdb: is a pipe")
    os.mkfifo(tmp_path / "unfinished.json")
    expect(lambda: write_store(clips, tmp_path), "unfinished.json: is a pipe")


def test_no_meta_info(store):
    path = store()
    (path / "meta_info.json").write_text("{")
    expect(lambda: open_clips(path), "meta_info.json: ")
    (path / "meta_info.json").unlink()
    expect(lambda: open_clips(path), f"{path}: found an LMDB without meta_info, expected meta_info.json,")
    expect(lambda: verify_store(path), f"{path}: found no meta_info.json, expected")
    expect(lambda: open_clips(path / "none.lmdb"), "none.lmdb: found no such folder, expected an LMDB")


def test_verify_finds_a_changed_byte(store, make_frame):
    path = store()
    changed = bytearray(make_frame("002", 5).tobytes())
    changed[1000] ^= 1
    edit(path, lambda transaction: transaction.put(b"002_00000005", bytes(changed)))
    expect(lambda: verify_store(path), f"{path}: clip 002: damaged")
    path = store("png")
    edit(path, lambda transaction: transaction.put(b"001_00000005", b"no picture"))
    expect(lambda: verify_store(path), "key 001_00000005: found no picture, expected a PNG or WebP")


# Processes


def test_each_process_opens_the_database_itself(stores, make_frame):
    first, second = open_clips(stores / "none"), open_clips(stores / "none")  # as training and validation may be
    first.read("000", 0)
    expected = make_frame("002", 7)

    def read(queue):
        inherited = first._environment
        results = [bool((source.read("002", 7) == expected).all()) for source in (first, second)]
        queue.put([*results, first._environment is not inherited, first._environment is second._environment])

    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    process = context.Process(target=read, args=(queue,))
    process.start()
    assert queue.get(timeout=60) == [True] * 4
    process.join(60)
    assert process.exitcode == 0
    np.testing.assert_array_equal(first.read("002", 7), expected)


def test_pickling(stores, make_frame):
    source = open_clips(stores / "webp")
    source.read("000", 0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read("001", 2), make_frame("001", 2))


def test_a_store_that_was_replaced_is_opened_anew(store, clips):
    path = store()
    open_clips(path).read("000", 0)
    shutil.rmtree(path)
    write_store(clips, path, "png")
    assert open_clips(path).read("000", 0).shape == (48, 64, 3)
