"""A folder of clip folders: SOURCE/CLIP/FRAME.png, frames named by their numbers."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from twostagealign.data.frame_files import list_folders, list_pictures
from twostagealign.data.pictures import read_picture
from twostagealign.runtime.errors import UserError


class ClipFolders:
    """Clips as folders of numbered pictures, such as REDS as it is distributed.

    Args:
        path: folder with one folder per clip, each with consecutively numbered pictures, all of one size:
            000/00000000.png.

    Attributes:
        path, clips, height, width: see `ClipSource`; clips are in the order of their names.
        numbers: frame numbers of every clip, as in the file names.

    Raises:
        UserError: there is no such folder, no clip in it, or a clip is empty or not numbered consecutively.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # Sorted as an LMDB's clips are: bursts are drawn by the places of clips in this order.
        clips = sorted(list_folders(self.path, "a folder of pictures per clip, such as 000/00000000.png"))
        self._paths = {clip: _numbered_pictures(self.path / clip) for clip in clips}
        self.clips: Mapping[str, int] = {clip: len(paths) for clip, paths in self._paths.items()}
        self.numbers = {
            clip: range(int(paths[0].stem), int(paths[0].stem) + len(paths)) for clip, paths in self._paths.items()
        }
        self.height, self.width = read_picture(next(iter(self._paths.values()))[0]).shape[:2]

    def identity(self) -> str:
        """SHA-256, hexadecimal, of names, sizes and times of modification of all pictures; UserError if one is gone."""
        digest = hashlib.sha256()
        for clip, paths in self._paths.items():
            for path in paths:
                try:
                    status = path.stat()
                except OSError as error:
                    raise UserError(f"{path}: cannot be read ({error.strerror})") from error
                digest.update(repr((clip, path.name, status.st_size, status.st_mtime_ns)).encode())
        return digest.hexdigest()

    def read(self, clip: str, frame: int, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
        """Read a crop of a frame, as `ClipSource.read` does; the whole picture is decoded."""
        path = self._paths[clip][frame]
        picture = read_picture(path)
        if picture.shape != (self.height, self.width, 3):
            found, first = f"{picture.shape[1]}x{picture.shape[0]}", next(iter(self._paths.values()))[0]
            raise UserError(f"{path}: found {found} pixels, expected {self.width}x{self.height} as in {first}")
        return np.ascontiguousarray(picture[rows, columns])


def _numbered_pictures(folder: Path) -> list[Path]:
    paths = list_pictures(folder)
    for path in paths:
        if not (path.stem.isascii() and path.stem.isdigit()):
            raise UserError(f"{path}: found no frame number as its name, expected one such as 00000000.png")
    paths.sort(key=lambda path: int(path.stem))
    first = int(paths[0].stem)
    for number, path in enumerate(paths, start=first):
        if int(path.stem) != number:
            raise UserError(f"{folder}: found {path.name} where frame {number} belongs, expected consecutive numbers")
    return paths
