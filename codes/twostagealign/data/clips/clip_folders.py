"""A folder of clip folders: SOURCE/CLIP/FRAME.png, frames named by their numbers; clips may lie deeper."""

import hashlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from twostagealign.data.frame_files import list_folders, list_pictures
from twostagealign.data.pictures import read_picture
from twostagealign.runtime.errors import UserError

CONTENT = "a folder of pictures per clip, such as 000/00000000.png"


class ClipFolders:
    """Clips as folders of numbered pictures, such as REDS and Vimeo90K as they are distributed.

    A clip is a folder without folders in it, at any depth. Its name is its path in the source, such as 000 or
    00001/0001.

    Args:
        path: folder of the clips. The names of the pictures of a clip end in consecutive numbers, as in 00000000.png or
            im1.png. All pictures have one size.
        clips: names of the clips to look at; None: all.

    Attributes:
        path, clips, height, width: see `ClipSource`; clips are in the order of their names.
        numbers: frame numbers of every clip, as in the file names.

    Raises:
        UserError: there is no such folder, no clip in it, or a clip is empty or not numbered consecutively.
    """

    def __init__(self, path: str | Path, clips: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        # Sorted as an LMDB's clips are: bursts are drawn by the places of clips in this order.
        names = sorted(_find_clips(self.path) if clips is None else clips)
        self._names: dict[str, tuple[str, ...]] = {}
        self.numbers: dict[str, range] = {}
        for clip in names:
            files, self.numbers[clip] = _numbered_pictures(self.path / clip)
            # Clips have the same names of frames, of which there may be hundreds of thousands.
            self._names[clip] = tuple(map(sys.intern, files))
        self.clips: Mapping[str, int] = {clip: len(files) for clip, files in self._names.items()}
        self._first = self._file(names[0], 0)
        self.height, self.width = read_picture(self._first).shape[:2]

    def _file(self, clip: str, frame: int) -> Path:
        return self.path / clip / self._names[clip][frame]

    def identity(self) -> str:
        """SHA-256, hexadecimal, of names, sizes and times of modification of all pictures; UserError if one is gone."""
        digest = hashlib.sha256()
        for clip, files in self._names.items():
            for path in (self.path / clip / file for file in files):
                try:
                    status = path.stat()
                except OSError as error:
                    raise UserError(f"{path}: cannot be read ({error.strerror})") from error
                digest.update(repr((clip, path.name, status.st_size, status.st_mtime_ns)).encode())
        return digest.hexdigest()

    def read(self, clip: str, frame: int, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read a crop of a frame, as `ClipSource.read` does; the whole picture is decoded."""
        path = self._file(clip, frame)
        picture = read_picture(path)
        if picture.shape != (self.height, self.width, 3):
            found = f"{picture.shape[1]}x{picture.shape[0]}"
            raise UserError(f"{path}: found {found} pixels, expected {self.width}x{self.height} as in {self._first}")
        return np.ascontiguousarray(picture[rows, columns])


def _find_clips(path: Path) -> Iterator[str]:
    """Names of the clips in a folder: folders without folders in them."""
    open_folders: list[tuple[Path, str, tuple[Path, ...]]]
    open_folders = [(path / name, name, (path.resolve(),)) for name in list_folders(path, CONTENT)]
    while open_folders:
        folder, name, above = open_folders.pop()
        if not any(path.is_dir() and not path.name.startswith(".") for path in folder.iterdir()):
            yield name
            continue
        here = folder.resolve()
        if here in above:
            raise UserError(f"{folder}: a link to a folder that contains it; remove it")
        inner = list_folders(folder, CONTENT)  # warns of files beside the folders
        open_folders += [(folder / each, f"{name}/{each}", (*above, here)) for each in inner]


def _numbered_pictures(folder: Path) -> tuple[list[str], range]:
    """Names of the pictures of a clip in the order of their numbers, and the numbers."""
    numbered = []
    for path in list_pictures(folder):
        digits = re.search(r"[0-9]+$", path.stem)
        if digits is None:
            raise UserError(f"{path}: found no frame number at the end of its name, expected one such as 00000000.png")
        numbered.append((int(digits[0]), path.name))
    numbered.sort()
    first = numbered[0][0]
    for number, (found, name) in enumerate(numbered, start=first):
        if found != number:
            raise UserError(f"{folder}: found {name} where frame {number} belongs, expected consecutive numbers")
    return [name for _, name in numbered], range(first, first + len(numbered))
