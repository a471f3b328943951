"""Clips: consecutive ordinary pictures, in a folder or in memory, degraded by the test protocol as they are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import NoiseLevel, RawFrame
from twostagealign.data.degradation import degrade_by_protocol
from twostagealign.data.frame_files import list_pictures, unique_names, warn_about_numbering
from twostagealign.data.pictures import check_equal_sizes, read_picture
from twostagealign.isp import Camera, protocol_camera
from twostagealign.runtime.errors import UserError

LEAST_SIDE = 12
"""Smallest even side of a picture that holds the window of SSIM, RGB pixels."""


@dataclass(frozen=True)
class Clip:
    """A `FrameSequence` of picture files. Pictures of odd size lose their last row or column.

    Attributes:
        name: name of the clip.
        paths: the picture files.
        picture_size: height and width that every picture must have, RGB pixels.
        noise: noise level that the frames are given.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """

    name: str
    paths: Sequence[Path]
    picture_size: tuple[int, int]
    noise: NoiseLevel

    @property
    def frames(self) -> list[str]:
        """Names of the pictures."""
        return [path.stem for path in self.paths]

    @property
    def references(self) -> range:
        """All frames."""
        return range(len(self.paths))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the raw planes."""
        height, width = self.picture_size
        return height // 2, width // 2

    @property
    def camera(self) -> Camera:
        """Camera of the test protocol."""
        return protocol_camera()

    def picture(self, index: int) -> Tensor:
        """Read a clean picture.

        Args:
            index: index of the frame.

        Returns:
            sRGB, (3, 2H, 2W) uint8.

        Raises:
            UserError: the file cannot be read, or its size is another one.
        """
        path = self.paths[index]
        picture = read_picture(path)
        if picture.shape[:2] != self.picture_size:
            found, expected = (f"{width}x{height}" for height, width in (picture.shape[:2], self.picture_size))
            raise UserError(f"{path}: found {found} pixels, expected {expected} as in the other frames")
        height, width = self.size
        return torch.from_numpy(picture[: 2 * height, : 2 * width]).permute(2, 0, 1).contiguous()

    def check(self, index: int) -> None:
        """Read a picture; UserError if it cannot be used."""
        self.picture(index)

    def read(self, index: int) -> RawFrame:
        """Read and degrade a picture. Its noise belongs to its place in the clip."""
        return degrade_by_protocol(self.picture(index), self.noise, index + 1)

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """Return the picture as it is."""
        return picture


@dataclass(frozen=True)
class ClipInMemory:
    """A `FrameSequence` of pictures in memory.

    Attributes:
        name: name of the clip.
        pictures: clean sRGB, (N, 3, 2H, 2W) uint8.
        noise: noise level that the frames are given.
        first_number: number of the first picture in its clip, from 1; the numbers seed the noise.
    """

    name: str
    pictures: Tensor
    noise: NoiseLevel
    first_number: int = 1

    @property
    def frames(self) -> list[str]:
        """Numbers of the pictures."""
        return [str(self.first_number + index) for index in self.references]

    @property
    def references(self) -> range:
        """All frames."""
        return range(len(self.pictures))

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the raw planes."""
        height, width = self.pictures.shape[-2:]
        return height // 2, width // 2

    @property
    def camera(self) -> Camera:
        """Camera of the test protocol."""
        return protocol_camera()

    def check(self, index: int) -> None:
        """Do nothing; pictures in memory can be used."""

    def read(self, index: int) -> RawFrame:
        """Degrade a picture."""
        return degrade_by_protocol(self.pictures[index], self.noise, self.first_number + index)

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """Return the picture as it is."""
        return picture


def open_clip(path: str | Path, noise: NoiseLevel) -> Clip:
    """Open a folder of consecutive pictures, or a single picture.

    Args:
        path: the folder, whose pictures are taken in natural order; or a picture file.
        noise: noise level that the frames are given.

    Returns:
        The clip; pictures are read when asked for.

    Raises:
        UserError: there is no such folder or no picture in it; pictures differ in size, are too small, or two have one
            name.
    """
    path = Path(path)
    paths = [path] if path.is_file() else list_pictures(path)
    warn_about_numbering(paths)
    unique_names(paths)
    height, width = check_equal_sizes(paths)
    if min(height, width) < LEAST_SIDE:
        least = f"{LEAST_SIDE}x{LEAST_SIDE}"
        raise UserError(f"{path}: found frames of {width}x{height} pixels, expected at least {least} to measure")
    return Clip(path.stem if path.is_file() else path.resolve().name, paths, (height, width), noise)
