"""This project's LMDB: what its meta_info.json says, and opening one.

Keys are CLIP_FFFFFFFF: the clip's name and the frame's number, eight digits. A value is one frame: its RGB bytes, or a
lossless PNG or WebP of it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twostagealign.data.lmdb.lmdb_clips import Layout, LmdbClips
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import write_atomically
from twostagealign.runtime.validation import schema_error

META_FILE = "meta_info.json"
UNFINISHED_FILE = "unfinished.json"
"""Stands beside data.mdb until `META_FILE` does."""

Compression = Literal["none", "png", "webp"]
_Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FrameFormat(_Section):
    """How every frame of a store is kept."""

    height: _Count
    width: _Count
    channels: Literal[3] = 3
    compression: Compression

    def __str__(self) -> str:
        return f"frames of {self.width}x{self.height} pixels, compression {self.compression}"


class ClipInfo(_Section):
    """One clip of a store."""

    first: Annotated[int, Field(ge=0)]  # number of its first frame
    frames: _Count
    checksum: str  # as `clip_checksum` computes it


class StoreInfo(_Section):
    """Content of meta_info.json."""

    format: Literal["twostagealign clips"] = "twostagealign clips"
    version: Literal[1] = 1
    count: _Count  # frames in all
    frame: FrameFormat
    clips: Annotated[dict[str, ClipInfo], Field(min_length=1)]

    def __str__(self) -> str:
        return f"{len(self.clips)} clip{'s' * (len(self.clips) > 1)}, {self.count} {self.frame}"


def frame_digest(rgb: np.ndarray) -> bytes:
    """SHA-256 of the RGB bytes of a frame, (height, width, 3) uint8."""
    return hashlib.sha256(np.ascontiguousarray(rgb)).digest()


def clip_checksum(digests: Iterable[bytes]) -> str:
    """SHA-256 of the digests of a clip's frames in order, as hexadecimal digits; the same for every compression."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def read_info(path: str | Path) -> StoreInfo:
    """Read and check a store's meta_info.json.

    Args:
        path: the folder of the store.

    Returns:
        Its content.

    Raises:
        UserError: if it is missing, as in an unfinished store, or not as described.
    """
    file = Path(path) / META_FILE
    if not file.is_file():
        hint = ": unfinished, run scripts/create_lmdb.py again" if (file.parent / UNFINISHED_FILE).is_file() else ""
        raise UserError(f"{path}: found no {META_FILE}{hint or ', expected the description of the frames'}")
    try:
        info = StoreInfo.model_validate_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except ValidationError as error:
        raise schema_error(str(file), error, StoreInfo) from None
    total = sum(clip.frames for clip in info.clips.values())
    if info.count != total:
        raise UserError(f"{file}: count: found {info.count}, expected {total}, the frames of its clips")
    return info


def write_info(path: Path, info: StoreInfo) -> None:
    """Write a store's meta_info.json; this is what makes it a finished one.

    Args:
        path: the folder of the store.
        info: what to write.

    Raises:
        UserError: if it cannot be written.
    """
    text = info.model_dump_json(indent=1)
    write_atomically(path / META_FILE, lambda temporary: temporary.write_text(text + "\n"))


def store_layout(frame: FrameFormat, ranges: Mapping[str, range], meta_file: str = META_FILE) -> Layout:
    """What the entries of a store are.

    Args:
        frame: how each is kept.
        ranges: frame numbers of every clip.
        meta_file: where that is written, for errors.

    Returns:
        The layout.
    """
    keys = {clip: [f"{clip}_{number:08d}" for number in numbers] for clip, numbers in ranges.items()}
    return Layout(meta_file, frame.height, frame.width, keys, "rgb" if frame.compression == "none" else "picture")


def open_store(path: str | Path) -> LmdbClips:
    """Open an LMDB of this project for reading.

    Args:
        path: the folder that `write_store` has written.

    Returns:
        Its clips.

    Raises:
        UserError: if it is unfinished or damaged.
    """
    info = read_info(path)
    ranges = {name: range(clip.first, clip.first + clip.frames) for name, clip in info.clips.items()}
    clips = LmdbClips(path, store_layout(info.frame, ranges))
    if clips.entries != info.count:
        raise UserError(
            f"{path}/{META_FILE}: count: found {info.count}, expected {clips.entries}, the keys in data.mdb"
        )
    return clips
