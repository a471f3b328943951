"""Clips in an LMDB: one entry per frame, read crop by crop."""

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

import cv2
import lmdb
import numpy as np
from PIL import Image, UnidentifiedImageError

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import check_regular
from twostagealign.runtime.silence import no_warnings


@dataclass(frozen=True)
class Layout:
    """The entries of an LMDB, as its meta_info describes them.

    Attributes:
        meta_file: name of the meta_info file, for errors.
        height: height of every frame in RGB pixels.
        width: width of every frame in RGB pixels.
        clips: number of frames of every clip, by name.
        key: makes the key of a frame from the name of its clip and its index.
        coding: coding of every frame: "rgb" or "bgr" for uncompressed bytes, rows from the top; "picture" for a PNG or
            WebP.
    """

    meta_file: str
    height: int
    width: int
    clips: Mapping[str, int]
    key: Callable[[str, int], str]
    coding: Literal["rgb", "bgr", "picture"]

    def check_bytes(self, where: str, found: int) -> None:
        """Check the number of bytes of an uncompressed frame; a UserError begins with `where`."""
        expected = self.height * self.width * 3
        if found != expected:
            raise UserError(
                f"{where}: found {found} bytes, expected {expected}: {self.width}x{self.height} RGB pixels "
                f"as {self.meta_file} says"
            )

    def decode(
        self, where: str, value: bytes | memoryview, rows: slice = slice(None), columns: slice = slice(None)
    ) -> np.ndarray:
        """Decode an LMDB entry or a crop of it. Uncompressed crops are read without copying the whole frame.

        Args:
            where: the entry, for errors.
            value: the entry's bytes.
            rows: rows of the crop.
            columns: columns of the crop.

        Returns:
            RGB, (rows, columns, 3) uint8, contiguous, independent of `value`.

        Raises:
            UserError: the entry is not a frame of this size.
        """
        stored = np.frombuffer(value, np.uint8)
        if self.coding != "picture":
            self.check_bytes(where, len(value))
            pixels = stored.reshape(self.height, self.width, 3)[rows, columns]
            return pixels.copy() if self.coding == "rgb" else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        try:
            with no_warnings, Image.open(io.BytesIO(value), formats=("PNG", "WEBP")) as picture:
                # Before memory for the pixels is allocated.
                self._check_picture_size(where, picture.height, picture.width)
                if picture.format == "PNG":
                    return np.array(picture.convert("RGB"))[rows, columns].copy()
        except UserError:
            raise
        except UnidentifiedImageError as error:
            raise UserError(f"{where}: found no picture, expected a PNG or WebP") from error
        except Exception as error:  # Pillow raises many kinds of exception on broken files
            raise UserError(f"{where}: damaged picture, expected a PNG or WebP") from error
        decoded = cv2.imdecode(stored, cv2.IMREAD_COLOR)  # for WebP twice as fast as Pillow
        if decoded is None:
            raise UserError(f"{where}: damaged picture, expected a PNG or WebP")
        self._check_picture_size(where, *decoded.shape[:2])
        return cv2.cvtColor(decoded[rows, columns], cv2.COLOR_BGR2RGB)

    def _check_picture_size(self, where: str, height: int, width: int) -> None:
        if (height, width) != (self.height, self.width):
            raise UserError(
                f"{where}: found {width}x{height} pixels, expected {self.width}x{self.height} as {self.meta_file} says"
            )


class LmdbClips:
    """Clips in an LMDB.

    Each process opens the database on its first read, so that pickling, forking and spawning are safe.

    Args:
        path: the folder that holds data.mdb.
        layout: description of the entries.

    Attributes:
        path, clips, height, width: see `ClipSource`.
        layout: description of the entries.
        entries: number of entries in the database.

    Raises:
        UserError: the database cannot be opened, is truncated, or disagrees with its layout.
    """

    def __init__(self, path: str | Path, layout: Layout) -> None:
        self.path = Path(path)
        self.layout = layout
        self.clips = layout.clips
        self.height, self.width = layout.height, layout.width
        self._environment: lmdb.Environment | None = None
        self._process = 0
        self.entries = self._check_entries()
        if layout.coding == "picture":
            self.read(next(iter(self.clips)), 0)  # so that a wrong size in meta_info shows here, not during a training

    def read(self, clip: str, frame: int, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read a crop of a frame, as `ClipSource.read` does; of an uncompressed frame, only the crop is copied."""
        key = self.layout.key(clip, frame)
        with self._transaction() as transaction:
            value = self._get(transaction, key)  # a view of the memory map, valid until the transaction ends
            return self.layout.decode(f"{self.path}: key {key}", value, rows, columns)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_environment": None, "_process": 0}

    @contextmanager
    def _transaction(self) -> Iterator[lmdb.Transaction]:
        if self._environment is None or self._process != os.getpid():
            self._environment = _open(self.path)
            self._process = os.getpid()
        try:
            with self._environment.begin(buffers=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise UserError(f"{self.path}: damaged LMDB ({error})") from error

    def _get(self, transaction: lmdb.Transaction, key: str) -> bytes | memoryview:
        value = transaction.get(key.encode())
        if value is None:
            raise UserError(f"{self.path}: found no key {key}, expected what {self.layout.meta_file} says")
        return value

    def _check_entries(self) -> int:
        """Check that all keys exist and, without reading the frames, their sizes. Returns the number of entries.

        It stops at the first missing key, so the work does not depend on how many frames meta_info promises.
        """
        with self._transaction() as transaction:
            for clip, count in self.clips.items():
                for key in (self.layout.key(clip, frame) for frame in range(count)):
                    value = self._get(transaction, key)
                    if self.layout.coding != "picture":
                        self.layout.check_bytes(f"{self.path}: key {key}", len(value))
            return transaction.stat()["entries"]


# LMDB allows a process to open a file only once; the data sets of training and validation may be in the same one.
_opened: WeakValueDictionary[tuple[int, Path], lmdb.Environment] = WeakValueDictionary()


def _open(path: Path) -> lmdb.Environment:
    """Open for reading, or share the environment that this process has opened already, never its parent's."""
    process, resolved = os.getpid(), path.resolve()
    for (owner, _), environment in list(_opened.items()):
        if owner != process:
            environment.close()  # inherited through fork: this unmaps it here; the parent keeps its own
    if (process, resolved) in _opened:
        return _opened[process, resolved]
    check_regular(path / "data.mdb", sys.maxsize, "an LMDB")
    try:
        # Bursts are all over the file, so reading ahead would be wasted. Nobody writes, so no locks are needed.
        environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False)
    except lmdb.Error as error:
        raise UserError(f"{path}: not a readable LMDB ({str(error).removeprefix(f'{path}: ')})") from error
    try:
        check_not_truncated(environment)
    except UserError:
        environment.close()
        raise
    _opened[process, resolved] = environment
    return environment


def check_not_truncated(environment: lmdb.Environment) -> None:
    """Refuse a truncated database before it is read: reading beyond the end of its file would kill the process."""
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    file = Path(environment.path()) / "data.mdb"
    found = file.stat().st_size
    if found < needed:
        raise UserError(f"{file}: truncated: found {found} bytes, expected at least {needed}")
