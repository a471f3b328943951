"""Clips: consecutive ordinary pictures, in a folder or in memory, degraded by the test protocol as they are read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from twostagealign.data.burst import NoiseLevel, RawFrame
from twostagealign.data.degradation import degrade_by_protocol
from twostagealign.data.frame_files import list_pictures, unique_names, warn_about_numbering
from twostagealign.data.pictures import check_equal_sizes, read_picture
from twostagealign.data.sequence import UniformSequence
from twostagealign.isp import protocol_camera
from twostagealign.runtime.errors import UserError

LEAST_SIDE = 12
"""Smallest even side of a picture that holds the window of SSIM, RGB pixels."""


@dataclass(frozen=True)
class Clip(UniformSequence):
    """A sequence of clean pictures, each degraded when it is read.

    Attributes:
        picture: reads the clean picture of an index: sRGB, (3, 2H, 2W) uint8.
        first_number: number of the first frame, from 1; the numbers seed the noise.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """

    picture: Callable[[int], Tensor]
    first_number: int = 1

    def check(self, index: int) -> None:
        """Read a picture without degrading it; UserError if it cannot be used."""
        self.picture(index)

    def read(self, index: int) -> RawFrame:
        """Read and degrade a picture."""
        return degrade_by_protocol(self.picture(index), self.noise, self.first_number + index)


class ClipInMemory(Clip):
    """A clip of pictures in memory. Its frames are named by their numbers.

    Args:
        name: name of the clip.
        pictures: clean sRGB, (N, 3, 2H, 2W) uint8.
        noise: noise level that the frames are given.
        first_number: number of the first picture, from 1; the numbers seed the noise.
    """

    def __init__(self, name: str, pictures: Tensor, noise: NoiseLevel, first_number: int = 1) -> None:
        frames = [str(first_number + index) for index in range(len(pictures))]
        height, width = pictures.shape[-2:]
        picture, size = pictures.__getitem__, (height // 2, width // 2)
        super().__init__(name, frames, size, protocol_camera(), noise, picture, first_number)


def clip_of_files(name: str, paths: Sequence[Path], size: tuple[int, int], noise: NoiseLevel) -> Clip:
    """Make a clip of picture files. Pictures of odd size lose their last row or column.

    Args:
        name: name of the clip.
        paths: the files.
        size: height and width that every picture must have, RGB pixels.
        noise: noise level that the frames are given.

    Raises:
        UserError: the size is too small; later, if a file cannot be read or has another size.
    """
    height, width = (side // 2 * 2 for side in size)
    if min(height, width) < LEAST_SIDE:
        where = paths[0].parent if len(paths) > 1 else paths[0]
        found, least = f"{size[1]}x{size[0]}", f"{LEAST_SIDE}x{LEAST_SIDE}"
        raise UserError(f"{where}: found frames of {found} pixels, expected at least {least} to measure")

    def picture(index: int) -> Tensor:
        pixels = read_picture(paths[index])
        if pixels.shape[:2] != size:
            found, expected = (f"{width}x{height}" for height, width in (pixels.shape[:2], size))
            raise UserError(f"{paths[index]}: found {found} pixels, expected {expected} as in the other frames")
        return torch.from_numpy(pixels[:height, :width]).permute(2, 0, 1).contiguous()

    return Clip(name, [path.stem for path in paths], (height // 2, width // 2), protocol_camera(), noise, picture)


def open_clip(path: str | Path, noise: NoiseLevel) -> Clip:
    """Open a folder of consecutive pictures, or a single picture.

    Args:
        path: the folder, whose pictures are taken in natural order; or a picture file.
        noise: noise level that the frames are given.

    Raises:
        UserError: there is no such folder or no picture in it; pictures differ in size, are too small, or two have one
            name.
    """
    path = Path(path)
    paths = [path] if path.is_file() else list_pictures(path)
    warn_about_numbering(paths)
    unique_names(paths)
    name = path.stem if path.is_file() else path.resolve().name
    return clip_of_files(name, paths, check_equal_sizes(paths), noise)
