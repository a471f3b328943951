"""Writing clips to an LMDB, and checking what was written."""

import io
import os
import shutil
import sys
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import TypeVar

import cv2
import lmdb
import numpy as np
from PIL import Image
from pydantic import ValidationError
from tqdm import tqdm

from twostagealign.data.clips.clip_folders import ClipFolders
from twostagealign.data.lmdb.lmdb_clips import Layout, check_not_truncated
from twostagealign.data.lmdb.store import (
    META_BYTES,
    META_FILE,
    UNFINISHED_FILE,
    ClipInfo,
    Compression,
    FrameFormat,
    StoreInfo,
    UnfinishedStore,
    clip_checksum,
    frame_digest,
    open_store,
    read_info,
    store_layout,
)
from twostagealign.data.read_ahead import read_ahead
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import check_regular, read_regular, write_atomically

COMMIT_BYTES = 64 * 2**20

T = TypeVar("T", bound=Hashable)
R = TypeVar("R")


def write_store(
    source: str | Path, path: str | Path, compression: Compression = "none", commit_bytes: int = COMMIT_BYTES
) -> StoreInfo:
    """Write clip folders to an LMDB, or continue an interrupted run, on all cores and with progress on stderr.

    Frames that an interrupted run has committed are kept, provided that the source is the same. meta_info.json is
    written last: readers refuse a store without it. A finished store is not changed.

    Args:
        source: a folder of clip folders; see `ClipFolders`.
        path: the store, a folder, which is created if need be.
        compression: "none" for RGB bytes, the fastest to read; "png" or "webp" for lossless pictures.
        commit_bytes: frames are committed whenever they amount to this. It bounds memory, and the work that a kill can
            cost.

    Returns:
        The meta_info.

    Raises:
        UserError: a frame cannot be read or has another size, the disk is full, or `path` holds something else or
            frames of another source.
    """
    folders, path = ClipFolders(source), Path(path)
    for clip in folders.clips:
        if not clip.isprintable():
            raise UserError(f"{source}: clip {clip!a}: a name that cannot be printed; rename the folder")
    frame_format = FrameFormat(height=folders.height, width=folders.width, compression=compression)
    if (path / META_FILE).exists():
        return _finished_before(path, folders, frame_format)
    _claim(path, folders, frame_format)
    layout = store_layout(frame_format, folders.numbers, UNFINISHED_FILE)
    try:
        with lmdb.open(str(path), map_size=_map_size(layout), meminit=False) as environment:
            check_not_truncated(environment)
            environment.reader_check()  # frees what a killed run held
            digests = _write_frames(environment, folders, layout, compression, commit_bytes)
    except lmdb.Error as error:
        raise UserError(f"{path}: cannot be written ({error})") from error
    clips = {
        clip: ClipInfo(first=numbers.start, frames=len(numbers), checksum=clip_checksum(digests[clip]))
        for clip, numbers in folders.numbers.items()
    }
    info = StoreInfo(count=sum(folders.clips.values()), frame=frame_format, clips=clips)
    write_info(path, info)
    for leftover in (UNFINISHED_FILE, "lock.mdb"):
        (path / leftover).unlink(missing_ok=True)
    return info


def verify_store(path: str | Path) -> StoreInfo:
    """Decode every frame of a store, with progress on stderr; UserError if a checksum differs."""
    info, clips = read_info(path), open_store(path)
    frames = [(clip, i) for clip, count in clips.clips.items() for i in range(count)]
    digests: dict[str, list[bytes]] = {clip: [] for clip in clips.clips}
    with closing(_in_order("verify", lambda frame: frame_digest(clips.read(*frame)), frames)) as results:
        for (clip, _), digest in zip(frames, results, strict=True):
            digests[clip].append(digest)
    damaged = [clip for clip in digests if clip_checksum(digests[clip]) != info.clips[clip].checksum]
    if damaged:
        raise UserError(
            f"{path}: clip {', '.join(damaged)}: damaged: its pixels do not have the checksum in {META_FILE}"
        )
    return info


def _finished_before(path: Path, folders: ClipFolders, frame_format: FrameFormat) -> StoreInfo:
    info = read_info(path)
    if info.frame != frame_format or info.ranges != folders.numbers:
        raise UserError(
            f"{path}: found a finished store of {info}, "
            f"expected {sum(folders.clips.values())} {frame_format} as in {folders.path}: delete it to write it again"
        )
    clips = open_store(path)
    for clip in clips.clips:
        if not np.array_equal(clips.read(clip, 0), folders.read(clip, 0)):
            raise UserError(
                f"{path}: finished store of another source: the first frame of clip {clip} differs from the one in "
                f"{folders.path}; delete it to write it again"
            )
    return info


def _claim(path: Path, folders: ClipFolders, frame_format: FrameFormat) -> None:
    """Create the folder of a store and mark it as unfinished, or check that it is unfinished, of this source."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected a folder that can be written to") from error
    found, wanted = _read_unfinished(path), UnfinishedStore(frame=frame_format, source=folders.identity())
    if found is None and others:
        raise UserError(f"{path}: found {min(others)} in it, expected an empty folder or an unfinished store")
    if found is not None and found.frame != frame_format:
        raise UserError(
            f"{path}: found an unfinished store of {found.frame}, expected {frame_format}: delete it to write it again"
        )
    if found not in (None, wanted):
        raise UserError(
            f"{path}: unfinished store of another source: names, sizes or times of the pictures in {folders.path} "
            "differ; delete it to write it again"
        )
    if "data.mdb" in others:
        check_regular(path / "data.mdb", sys.maxsize, "an LMDB")
    write_atomically(path / UNFINISHED_FILE, lambda temporary: temporary.write_text(wanted.model_dump_json()))


def _read_unfinished(path: Path) -> UnfinishedStore | None:
    file = path / UNFINISHED_FILE
    if not file.exists():
        return None
    try:
        return UnfinishedStore.model_validate_json(read_regular(file, META_BYTES, "the mark of an unfinished store"))
    except ValidationError as error:
        raise UserError(f"{file}: damaged, or of an earlier version; delete {path} to write the store again") from error


def write_info(path: Path, info: StoreInfo) -> None:
    """Write meta_info.json, which makes a store a finished one."""
    text = info.model_dump_json(indent=1) + "\n"
    write_atomically(path / META_FILE, lambda temporary: temporary.write_text(text))


def _map_size(layout: Layout) -> int:
    """Upper bound of the size of the database. It uses address space, not disk space."""
    largest = int(1.1 * layout.height * layout.width * 3) + 65536
    return sum(layout.clips.values()) * largest + 64 * 2**20


def _write_frames(
    environment: lmdb.Environment, folders: ClipFolders, layout: Layout, compression: Compression, commit_bytes: int
) -> dict[str, list[bytes]]:
    """Write the missing frames. Returns the digests of all frames, by clip."""
    with environment.begin() as transaction:
        present = {key.decode() for key in transaction.cursor().iternext(values=False)}
    frames = [(clip, i, layout.key(clip, i)) for clip, count in layout.clips.items() for i in range(count)]
    surplus = present - {key for _, _, key in frames}
    if surplus:
        raise UserError(f"{environment.path()}: found key {min(surplus)}, expected only frames of {folders.path}")
    if compression == "none":
        needed = (len(frames) - len(present)) * layout.height * layout.width * 3
        free = shutil.disk_usage(environment.path()).free
        if free < needed:
            raise UserError(
                f"{environment.path()}: found {free / 1e9:.1f} GB of disk space, expected {needed / 1e9:.1f}"
            )

    def prepare(frame: tuple[str, int, str]) -> tuple[bytes | None, bytes]:
        """The value to write, None if it is there already, and the digest."""
        clip, i, key = frame
        if key in present:
            with environment.begin(buffers=True) as transaction:
                value = transaction.get(key.encode(), default=b"")
                return None, frame_digest(layout.decode(f"{environment.path()}: key {key}", value))
        rgb = folders.read(clip, i)
        return encode_frame(rgb, compression), frame_digest(rgb)

    digests: dict[str, list[bytes]] = {clip: [] for clip in layout.clips}
    batch: dict[bytes, bytes] = {}
    waiting = 0
    # The threads must end before the environment is closed, since that removes the memory map: hence `closing`.
    with closing(_in_order("write", prepare, frames)) as prepared:
        for (clip, _, key), (value, digest) in zip(frames, prepared, strict=True):
            digests[clip].append(digest)
            if value is not None:
                batch[key.encode()] = value
                waiting += len(value)
            if waiting >= commit_bytes:
                commit_frames(environment, batch)
                batch, waiting = {}, 0
        commit_frames(environment, batch)
    return digests


def commit_frames(environment: lmdb.Environment, batch: dict[bytes, bytes]) -> None:
    """Put frames into the database, all of them or none."""
    with environment.begin(write=True) as transaction:
        for key, value in batch.items():
            transaction.put(key, value)


def encode_frame(rgb: np.ndarray, compression: Compression) -> bytes:
    """Encode a frame, (height, width, 3) uint8."""
    if compression == "none":
        return rgb.tobytes()
    if compression == "png":
        return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
    # OpenCV also writes lossless WebP, 8 % smaller at 5 times the cost, with no option to change that.
    encoded = io.BytesIO()
    Image.fromarray(rgb).save(encoded, "WEBP", lossless=True, quality=0, method=0)
    return encoded.getvalue()


def _in_order(name: str, function: Callable[[T], R], items: Sequence[T]) -> Generator[R, None, None]:
    """Map a function over items in threads, in order, a bounded number ahead of the consumer, with a progress bar.

    Threads suffice: decoding, encoding and hashing release the interpreter's lock, and no frame is copied to a process.
    """
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    batches = [items[start : start + workers] for start in range(0, len(items), workers)]
    with (
        tqdm(total=len(items), desc=name, unit="frame", dynamic_ncols=True) as progress,
        closing(read_ahead(batches, function, workers)) as results,
    ):
        for result in chain.from_iterable(results):
            yield result.result()
            progress.update()
