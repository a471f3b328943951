"""This project's LMDB: what its meta_info.json says, and opening one.

Keys are CLIP_FFFFFFFF: the clip's name and the frame's number, eight digits. A value is one frame: its RGB bytes, or a
lossless PNG or WebP of it.
"""

import hashlib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twostagealign.data.lmdb.lmdb_clips import Layout, LmdbClips
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular
from twostagealign.runtime.validation import schema_error

META_FILE = "meta_info.json"
UNFINISHED_FILE = "unfinished.json"
"""Lies beside data.mdb until `META_FILE` is written."""
META_BYTES = 2**26
"""Largest size of a meta_info.json."""

Compression = Literal["none", "png", "webp"]
_Name = Annotated[str, Field(pattern=r"^\P{C}+$", max_length=255)]  # in keys and in messages
_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FrameFormat(_Section):
    """Size and compression of every frame of a store."""

    height: Annotated[int, Field(ge=1, le=2**16)]
    width: Annotated[int, Field(ge=1, le=2**16)]
    channels: Literal[3] = 3
    compression: Compression

    def __str__(self) -> str:
        return f"frames of {self.width}x{self.height} pixels, compression {self.compression}"


class ClipInfo(_Section):
    """One clip of a store."""

    first: Annotated[int, Field(ge=0, lt=10**255)]  # number of its first frame, from a file name
    frames: _Count
    checksum: str  # from `clip_checksum`


class StoreInfo(_Section):
    """Content of meta_info.json."""

    format: Literal["twostagealign clips"] = "twostagealign clips"
    version: Literal[1] = 1
    count: _Count  # frames in all
    frame: FrameFormat
    clips: Annotated[dict[_Name, ClipInfo], Field(min_length=1)]

    @property
    def ranges(self) -> dict[str, range]:
        """Frame numbers of every clip."""
        return {name: range(clip.first, clip.first + clip.frames) for name, clip in self.clips.items()}

    def __str__(self) -> str:
        return f"{len(self.clips)} clip{'s' * (len(self.clips) > 1)}, {self.count} {self.frame}"


class UnfinishedStore(_Section):
    """Content of unfinished.json."""

    frame: FrameFormat
    source: str  # `ClipFolders.identity` of what it is written from


def frame_digest(rgb: np.ndarray) -> bytes:
    """SHA-256 of the RGB bytes of a frame, (height, width, 3) uint8."""
    return hashlib.sha256(np.ascontiguousarray(rgb).data).digest()


def clip_checksum(digests: Iterable[bytes]) -> str:
    """SHA-256 of the digests of a clip's frames in order, as hexadecimal digits; the same for every compression."""
    return hashlib.sha256(b"".join(digests)).hexdigest()


def read_info(path: str | Path) -> StoreInfo:
    """Read and check the meta_info.json in the folder of a store; UserError if it is missing or does not fit."""
    file = Path(path) / META_FILE
    if not file.is_file():
        hint = ": unfinished, run scripts/create_lmdb.py again" if (file.parent / UNFINISHED_FILE).is_file() else ""
        raise UserError(f"{path}: found no {META_FILE}{hint or ', expected the description of the frames'}")
    try:
        info = StoreInfo.model_validate_json(read_regular(file, META_BYTES, "the description of the frames"))
    except ValidationError as error:
        raise schema_error(str(file), error, StoreInfo) from None
    total = sum(clip.frames for clip in info.clips.values())
    if info.count != total:
        raise UserError(f"{file}: count: found {info.count}, expected {total}, the frames of its clips")
    return info


def store_layout(frame: FrameFormat, ranges: Mapping[str, range], meta_file: str = META_FILE) -> Layout:
    """Layout of a store's entries.

    Args:
        frame: size and compression of every frame.
        ranges: frame numbers of every clip.
        meta_file: name of the file that describes the store, for errors.
    """
    clips = {clip: len(numbers) for clip, numbers in ranges.items()}
    coding: Literal["rgb", "picture"] = "rgb" if frame.compression == "none" else "picture"
    return Layout(meta_file, frame.height, frame.width, clips, partial(_key, ranges), coding)


def _key(ranges: Mapping[str, range], clip: str, frame: int) -> str:
    return f"{clip}_{ranges[clip][frame]:08d}"


def open_store(path: str | Path) -> LmdbClips:
    """Open an LMDB that `write_store` has written; UserError if it is unfinished or damaged."""
    info = read_info(path)
    clips = LmdbClips(path, store_layout(info.frame, info.ranges))
    if clips.entries != info.count:
        raise UserError(
            f"{path}/{META_FILE}: count: found {info.count}, expected {clips.entries}, the keys in data.mdb"
        )
    return clips
