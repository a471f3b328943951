"""Bayer mosaics in picture files, described by a camera.yml."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twostagealign.data.burst import Levels, NoiseLevel
from twostagealign.data.camera.camera_file import check_camera, load_camera_file
from twostagealign.data.frame_files import CAMERA_FILE
from twostagealign.data.metadata import UNKNOWN_NOISE, Crop, FrameMetadata
from twostagealign.data.pictures import check_equal_sizes, read_pixels, stored_size
from twostagealign.runtime.errors import UserError


@dataclass(frozen=True)
class MosaicFile:
    """A Bayer mosaic in a picture file, described by a camera.yml.

    Attributes:
        path: the file.
        metadata: what camera.yml says.
        shading: None, since camera.yml has no shading.
    """

    path: Path
    metadata: FrameMetadata
    shading: None = None

    def read_samples(self) -> np.ndarray:
        """Decode the mosaic, (height, width) uint8 or uint16; UserError if it cannot be used."""
        stored = read_pixels(self.path)
        if stored.ndim != 2:
            raise UserError(f"{self.path}: found {stored.shape[2]} channels, expected a Bayer mosaic of one channel")
        levels = self.metadata.levels
        if levels and levels.white > np.iinfo(stored.dtype).max:
            raise UserError(
                f"{self.path}: found {stored.dtype} samples, expected 16-bit ones "
                f"as {CAMERA_FILE} says white_level {levels.white:g}"
            )
        return stored


def open_mosaic_files(folder: Path, paths: Sequence[Path]) -> list[MosaicFile]:
    """Open Bayer mosaics in picture files.

    Args:
        folder: folder of their camera.yml.
        paths: the files.

    Raises:
        UserError: camera.yml is missing or not as described in `camera_file`, or the files differ in size.
    """
    camera_file = folder / CAMERA_FILE
    if not os.path.lexists(camera_file):
        raise UserError(
            f"{folder}: pictures without {CAMERA_FILE}; describe the camera of Bayer mosaics there, "
            "or degrade ordinary pictures with --simulate"
        )
    content = load_camera_file(camera_file)
    described = check_camera(camera_file, content)
    height, width = check_equal_sizes(paths, stored_size)
    if min(height, width) < 2:
        raise UserError(f"{paths[0]}: found {width}x{height} samples, expected at least 2x2")
    noise = described.noise
    metadata = FrameMetadata(
        camera=described.camera,
        noise=NoiseLevel("camera", noise.shot, noise.read) if noise else UNKNOWN_NOISE,
        cfa=described.cfa,
        levels=Levels(described.black_level, described.white_level),
        crop=Crop(0, 0, height, width),
        sources={"rgb2cam" if key == "xyz2cam" else key: CAMERA_FILE for key in content},
    )
    return [MosaicFile(path, metadata) for path in paths]
