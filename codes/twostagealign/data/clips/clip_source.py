"""Where frames of clips come from: folders, or an LMDB of this project, of EDVR or of BasicSR."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from twostagealign.data.clips.clip_folders import ClipFolders
from twostagealign.data.lmdb.foreign import BASICSR_META_FILE, EDVR_META_FILE, open_basicsr, open_edvr
from twostagealign.data.lmdb.store import META_FILE, UNFINISHED_FILE, open_store
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import locate

_READERS = {META_FILE: open_store, EDVR_META_FILE: open_edvr, BASICSR_META_FILE: open_basicsr}


class ClipSource(Protocol):
    """Clips of frames of one size.

    Attributes:
        path: the folder or LMDB.
        clips: number of frames of every clip, by name.
        height: height of every frame in RGB pixels.
        width: width of every frame in RGB pixels.
    """

    path: Path
    clips: Mapping[str, int]
    height: int
    width: int

    def read(self, clip: str, frame: int, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read a crop of a frame.

        Args:
            clip: name of the clip.
            frame: index in the clip, from 0.
            rows: rows of the crop.
            columns: columns of the crop.

        Returns:
            RGB, (rows, columns, 3) uint8, contiguous.

        Raises:
            UserError: the frame cannot be read.
        """
        ...


def open_clips(path: str | Path, clips: Sequence[str] | None = None) -> ClipSource:
    """Open a folder of clip folders, or an LMDB.

    Args:
        path: looked up by `locate`.
        clips: names of the clips to look at in a folder, which saves the time to list the others; None: all. An LMDB
            has all of its clips.

    Raises:
        UserError: there is no such folder, or it is neither of the two, unfinished, empty or damaged.
    """
    path = locate(Path(path))
    for meta_file, reader in _READERS.items():
        if (path / meta_file).is_file():
            return reader(path)
    if (path / UNFINISHED_FILE).exists():
        return open_store(path)  # raises an error that explains
    if (path / "data.mdb").exists() or path.suffix == ".lmdb":
        kinds = f"{META_FILE}, {EDVR_META_FILE} (EDVR) or {BASICSR_META_FILE} (BasicSR)"
        if not path.is_dir():
            raise UserError(f"{path}: found no such folder, expected an LMDB with {kinds}")
        raise UserError(f"{path}: found an LMDB without meta_info, expected {kinds} in it")
    return ClipFolders(path, clips)
