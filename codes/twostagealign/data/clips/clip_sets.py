"""Sets of clips of ordinary pictures for evaluation, such as REDS4 and Videezy4K, degraded by the test protocol."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from twostagealign.data.burst import NoiseLevel
from twostagealign.data.clips.clip import Clip, clip_of_files
from twostagealign.data.frame_files import list_folders, list_pictures
from twostagealign.data.pictures import upright_size
from twostagealign.runtime.errors import UserError


class ClipSet:
    """An `EvaluationSet` of clips that are folders of numbered, clean pictures.

    Raises:
        UserError: there is no such folder or no clip in it.
    """

    has_noise = False

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder, self.frames = folder, frames
        self.clips: Sequence[str] = list_folders(folder, "a folder of pictures per clip, such as 000/00000000.png")

    def open(self, clip: str, noise: NoiseLevel | None) -> Clip:
        """Open a clip; see `open_numbered_clip`."""
        if noise is None:
            raise ValueError("noise: found None, expected a noise level, since pictures are clean")
        return open_numbered_clip(self.folder / clip, noise, self.frames)


def open_numbered_clip(folder: Path, noise: NoiseLevel, least: int) -> Clip:
    """Open a clip for evaluation, whose frames must be complete. Its size is that of the first readable picture.

    Args:
        folder: contains the pictures. Their names end in consecutive numbers, starting anywhere.
        noise: noise level that the frames are given.
        least: smallest number of frames.

    Raises:
        UserError: there are too few pictures, they are too small, or a number is missing or there twice.
    """
    paths = _in_order_of_numbers(list_pictures(folder))
    if len(paths) < least:
        raise UserError(f"{folder}: found {len(paths)} frames, expected at least {least}, a burst")
    return clip_of_files(folder.name, paths, _first_size(paths), noise)


def _in_order_of_numbers(paths: Sequence[Path]) -> list[Path]:
    numbered = []
    for path in paths:
        digits = re.search(r"[0-9]+$", path.stem)
        if not digits:
            raise UserError(f"{path}: found no number at the end of the name, expected that of the frame")
        numbered.append((int(digits[0]), path))
    numbered.sort()
    for (number, path), (following, next_path) in pairwise(numbered):
        if following == number:
            raise UserError(f"{next_path}: found frame {number} a second time, beside {path.name}")
        if following > number + 1:
            raise UserError(f"{path.parent}: frame {number + 1} is missing, found {next_path.name} after {path.name}")
    return [path for _, path in numbered]


def _first_size(paths: Sequence[Path]) -> tuple[int, int]:
    """Height and width of the first picture whose size can be read."""
    for path in paths:
        try:
            return upright_size(path)
        except UserError as error:
            problem = error
    raise problem
