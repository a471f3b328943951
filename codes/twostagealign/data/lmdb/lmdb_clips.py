"""Clips in an LMDB: one entry per frame, read crop by crop."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from weakref import WeakValueDictionary

import cv2
import lmdb
import numpy as np

from twostagealign.runtime.errors import UserError


@dataclass(frozen=True)
class Layout:
    """What the entries of an LMDB are, as its meta_info says.

    Attributes:
        meta_file: name of the file that says so, for errors.
        height: of every frame in RGB pixels.
        width: of every frame in RGB pixels.
        keys: of the frames of every clip, in order.
        coding: of a frame: "rgb" or "bgr" for its bytes as they are, rows from the top, "picture" for a PNG or WebP.
    """

    meta_file: str
    height: int
    width: int
    keys: Mapping[str, list[str]]
    coding: Literal["rgb", "bgr", "picture"]

    def check_bytes(self, where: str, found: int) -> None:
        """Check the size of a frame that is not a picture; `where` begins the UserError."""
        expected = self.height * self.width * 3
        if found != expected:
            raise UserError(
                f"{where}: found {found} bytes, expected {expected}: {self.width}x{self.height} RGB pixels "
                f"as {self.meta_file} says"
            )

    def decode(
        self, where: str, value: memoryview, rows: slice = slice(None), columns: slice = slice(None)
    ) -> np.ndarray:
        """Make an array of an entry, or of a crop of it; nothing but the crop of an uncompressed frame is copied.

        Args:
            where: the entry, for errors.
            value: its bytes.
            rows: which rows.
            columns: which columns.

        Returns:
            RGB, (rows, columns, 3) uint8, contiguous, independent of `value`.

        Raises:
            UserError: if the entry is not a frame of this size.
        """
        stored = np.frombuffer(value, np.uint8)
        if self.coding != "picture":
            self.check_bytes(where, len(value))
            pixels = stored.reshape(self.height, self.width, 3)[rows, columns]
            return pixels.copy() if self.coding == "rgb" else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
        picture = cv2.imdecode(stored, cv2.IMREAD_COLOR) if len(stored) else None
        if picture is None:
            raise UserError(f"{where}: found no picture, expected a PNG or WebP")
        if picture.shape != (self.height, self.width, 3):
            raise UserError(
                f"{where}: found {picture.shape[1]}x{picture.shape[0]} pixels, expected {self.width}x{self.height} "
                f"as {self.meta_file} says"
            )
        return cv2.cvtColor(picture[rows, columns], cv2.COLOR_BGR2RGB)


class LmdbClips:
    """Clips in an LMDB.

    The database is opened in each process that reads, when it first does: pickling, forking and spawning are safe.

    Args:
        path: the folder that holds data.mdb.
        layout: what its entries are.

    Attributes:
        path: as given.
        clips: number of frames of every clip, by name.
        height: of every frame in RGB pixels.
        width: of every frame in RGB pixels.
        entries: number of entries in the database.

    Raises:
        UserError: if the database cannot be opened, is truncated, or disagrees with its layout.
    """

    def __init__(self, path: str | Path, layout: Layout) -> None:
        self.path = Path(path)
        self.layout = layout
        self.clips = {clip: len(keys) for clip, keys in layout.keys.items()}
        self.height, self.width = layout.height, layout.width
        self._environment: lmdb.Environment | None = None
        self._process = 0
        self.entries = self._check_entries()
        if layout.coding == "picture":
            self.read(
                next(iter(self.clips)), 0
            )  # a wrong size in meta_info shows here, not in the middle of a training

    def read(self, clip: str, frame: int, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read a crop of a frame; of an uncompressed one, nothing but the crop is copied.

        Args:
            clip: name of the clip.
            frame: index in the clip, from 0.
            rows: which rows.
            columns: which columns.

        Returns:
            RGB, (rows, columns, 3) uint8, contiguous.

        Raises:
            UserError: if the frame is missing, damaged or of another size than meta_info says.
        """
        key = self.layout.keys[clip][frame]
        with self._transaction() as transaction:
            value = transaction.get(key.encode())  # a view of the memory map, valid until the transaction ends
            if value is None:
                raise UserError(f"{self.path}: found no key {key}, expected one as {self.layout.meta_file} says")
            return self.layout.decode(f"{self.path}: key {key}", value, rows, columns)

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_environment": None, "_process": 0}

    @contextmanager
    def _transaction(self) -> Iterator[lmdb.Transaction]:
        if self._process != os.getpid():
            self._environment = _open(self.path)
            self._process = os.getpid()
        try:
            with self._environment.begin(buffers=True) as transaction:
                yield transaction
        except lmdb.Error as error:
            raise UserError(f"{self.path}: damaged LMDB ({error})") from error

    def _check_entries(self) -> int:
        """Compare keys and, without touching the frames, their sizes with the layout; the number of entries."""
        missing = {key for keys in self.layout.keys.values() for key in keys}
        with self._transaction() as transaction:
            entries = transaction.stat()["entries"]
            for entry, value in transaction.cursor():
                key = bytes(entry).decode(errors="replace")
                if key in missing and self.layout.coding != "picture":
                    self.layout.check_bytes(f"{self.path}: key {key}", len(value))
                missing.discard(key)
        if missing:
            more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
            raise UserError(
                f"{self.path}: found no key {min(missing)}{more}, expected what {self.layout.meta_file} says"
            )
        return entries


# LMDB allows a process to open a file only once; the data sets of training and validation may be in the same one.
_opened: WeakValueDictionary[tuple[int, Path], lmdb.Environment] = WeakValueDictionary()


def _open(path: Path) -> lmdb.Environment:
    """Open for reading, or share what this process has opened already; never what its parent process has."""
    process, resolved = os.getpid(), path.resolve()
    for (owner, _), environment in list(_opened.items()):
        if owner != process:
            environment.close()  # inherited through fork: this unmaps it here; the parent keeps its own
    if (process, resolved) in _opened:
        return _opened[process, resolved]
    try:
        # Bursts are all over the file: reading ahead would read what nobody asked for. Nobody writes: no locks.
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
    """Refuse a database whose file is shorter than it says: reading beyond the end would kill the process.

    Args:
        environment: opened, nothing read from it yet.

    Raises:
        UserError: if the file is too short.
    """
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    file = Path(environment.path()) / "data.mdb"
    found = file.stat().st_size
    if found < needed:
        raise UserError(f"{file}: truncated: found {found} bytes, expected at least {needed}")
