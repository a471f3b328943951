"""Clips of ordinary pictures for evaluation, such as REDS4 and Videezy4K, degraded by the test protocol."""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.evaluation_set import NoiseLevel, RawFrame
from twostagealign.data.frame_files import list_folders, list_pictures
from twostagealign.data.pictures import read_picture, upright_size
from twostagealign.isp import mosaic, protocol_camera, protocol_noise, unprocess
from twostagealign.runtime.errors import UserError

LEAST_SIDE = 12
"""Smallest even side of a picture that holds the window of SSIM, RGB pixels."""

BAND = 256
"""RGB rows that are unprocessed at a time: a UHD frame has half a gigabyte of intermediate results."""


class ClipSet:
    """A folder of clips, each a folder of numbered pictures.

    Args:
        folder: of the clips.
        frames: length of a burst.

    Attributes:
        clips: names of all clips, sorted.

    Raises:
        UserError: there is no such folder or no clip in it.
    """

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder, self.frames = folder, frames
        self.clips = list_folders(folder, "a folder of pictures per clip, such as 000/00000000.png")

    def open(self, clip: str) -> "DegradedClip":
        """Open a clip; see `DegradedClip`."""
        return DegradedClip(self.folder / clip, self.frames)


class DegradedClip:
    """A clip whose frames are unprocessed, mosaicked and given the noise of the test protocol as they are read.

    Pictures of odd size lose their last row or column: a Bayer mosaic has even sides.

    Args:
        folder: holds the pictures. Their names end in consecutive numbers, from whichever on.
        frames: length of a burst; a clip is at least as long.

    Attributes:
        See `EvaluationClip`; every frame can be restored.

    Raises:
        UserError: there are too few pictures, they are too small, or a number is missing or there twice.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """

    noise = None

    def __init__(self, folder: Path, frames: int) -> None:
        self.name = folder.name
        self.paths = _in_order_of_numbers(list_pictures(folder))
        if len(self.paths) < frames:
            raise UserError(f"{folder}: found {len(self.paths)} frames, expected at least {frames}, a burst")
        self._first, self._picture_size = _first_size(self.paths)
        height, width = self._picture_size
        if min(height, width) < LEAST_SIDE:
            least = f"{LEAST_SIDE}x{LEAST_SIDE}"
            raise UserError(f"{self._first}: found {width}x{height} pixels, expected at least {least} to measure")
        self.frames = [path.stem for path in self.paths]
        self.references = range(len(self.paths))
        self.size = (height // 2, width // 2)
        self.camera = protocol_camera()

    def check(self, index: int) -> None:
        """Read a picture; UserError if it cannot be read or is of another size than the first."""
        self._picture(index)

    def _picture(self, index: int) -> np.ndarray:
        path = self.paths[index]
        picture = read_picture(path)
        if picture.shape[:2] != self._picture_size:
            found, expected = (f"{width}x{height}" for height, width in (picture.shape[:2], self._picture_size))
            raise UserError(f"{path}: found {found} pixels, expected {expected} as in {self._first.name}")
        return picture

    def read(self, index: int, noise: NoiseLevel) -> RawFrame:
        """Read and degrade frame `index`, whose noise belongs to its place in the clip."""
        height, width = self.size
        picture = self._picture(index)[: 2 * height, : 2 * width]
        clean = torch.from_numpy(picture).permute(2, 0, 1).contiguous()
        raw = torch.cat([mosaic(band) for band in self._linear_bands(clean)], dim=1)
        return RawFrame(protocol_noise(raw, noise.shot, noise.read, index + 1).clamp_(0, 1), clean)

    def target(self, frame: RawFrame) -> Tensor:
        """Linear camera RGB of the clean picture, (3, 2H, 2W)."""
        return torch.cat(list(self._linear_bands(frame.clean)), dim=1)

    def _linear_bands(self, clean: Tensor) -> Iterator[Tensor]:
        for band in clean.split(BAND, dim=1):
            yield unprocess(band[None].float().div_(255), self.camera)[0]


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


def _first_size(paths: Sequence[Path]) -> tuple[Path, tuple[int, int]]:
    """The first picture whose size can be read, and its height and width."""
    for path in paths:
        try:
            return path, upright_size(path)
        except UserError as error:
            problem = error
    raise problem
