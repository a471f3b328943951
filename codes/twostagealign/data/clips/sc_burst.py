"""SC_burst: raw bursts of a smartphone camera, one MATLAB v7.3 file (HDF5) per frame.

Content of a file that is read:

    im                       the RGGB mosaic in [0, 1], stored transposed as MATLAB does
    meta/ColorMatrix2        9 numbers, XYZ -> camera RGB, row by row
    meta/AsShotNeutral       3 numbers; the gains of red and blue are 1 / the first and 1 / the third
    meta/UnknownTags/Value   object references, the 8th to the noise profile: shot noise and variance of the read noise

The group `meta` is that of the burst's middle frame.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from twostagealign.data.burst import NoiseLevel, RawFrame
from twostagealign.data.clips.mat_file import MatFile
from twostagealign.data.frame_files import list_files, list_folders
from twostagealign.data.sequence import UniformSequence
from twostagealign.isp import Camera, pack, rgb2cam_from_xyz2cam
from twostagealign.runtime.errors import UserError

NOISE_PROFILE = 7
"""Index of the noise profile among the references of `meta/UnknownTags/Value`."""

_TOLERANCE = 0.05
"""How far samples may lie outside [0, 1], where noise around the black and the white level takes them."""


class SCBurst:
    """An `EvaluationSet` of scenes, a folder each with the frames of one burst, which have the noise of the camera.

    Args:
        folder: contains the scenes.
        frames: length of a burst: the number of files used of a scene, the first ones in natural order.

    Raises:
        UserError: there is no such folder or no scene in it.
    """

    has_noise = True

    def __init__(self, folder: Path, frames: int) -> None:
        self.folder, self.frames = folder, frames
        self.clips: Sequence[str] = list_folders(folder, "a folder per scene, such as Scene01")

    def open(self, clip: str, noise: NoiseLevel | None = None) -> "SCBurstScene":
        """Open a scene; see `SCBurstScene`."""
        if noise is not None:
            raise ValueError(f"noise: found {noise.name}, expected None, since the frames have noise")
        return SCBurstScene(self.folder / clip, self.frames)


class SCBurstScene(UniformSequence):
    """A sequence of one burst. Its middle frame can be restored; there is no ground truth.

    Mosaics with odd sides lose their last row or column.

    Args:
        folder: contains the .mat files.
        frames: length of the burst; None: the number of files.

    Raises:
        UserError: there are too few files, or the middle one cannot be used.
    """

    def __init__(self, folder: Path, frames: int | None = None) -> None:
        paths = list_files(folder, (".mat",), ".mat file")
        frames = len(paths) if frames is None else frames
        if len(paths) < frames:
            raise UserError(f"{folder}: found {len(paths)} .mat files, expected at least {frames}, a burst")
        self._paths = paths[:frames]
        with _File(paths[frames // 2]) as file:
            height, width = file.matrix("im").shape[::-1]
            camera, noise = file.camera(), file.noise()
        names = [path.stem for path in self._paths]
        super().__init__(folder.name, names, (height // 2, width // 2), camera, noise)

    @property
    def references(self) -> list[int]:
        """The middle frame."""
        return [len(self.frames) // 2]

    def read(self, index: int) -> RawFrame:
        """Read a frame."""
        with _File(self._paths[index]) as file:
            mosaic = file.mosaic()
        height, width = self.size
        if mosaic.shape[0] // 2 != height or mosaic.shape[1] // 2 != width:
            found = f"a mosaic of {mosaic.shape[1]}x{mosaic.shape[0]}"
            middle = self._paths[self.references[0]].name
            raise UserError(f"{self._paths[index]}: found {found}, expected {2 * width}x{2 * height} as in {middle}")
        return RawFrame(pack(torch.from_numpy(mosaic[: 2 * height, : 2 * width])).clamp_(0, 1), self.noise)


def is_scene(folder: Path) -> bool:
    """Whether a folder holds .mat files."""
    return folder.is_dir() and any(path.suffix.lower() == ".mat" for path in folder.iterdir())


class _File(MatFile):
    """An open file of a scene."""

    def mosaic(self) -> np.ndarray:
        """`im` the right way round, (height, width) float32, about in [0, 1]."""
        im = self.values("im", self.matrix("im")).T
        if min(im.shape) < 2:
            raise UserError(f"{self.path}: im: found a mosaic of {im.shape[1]}x{im.shape[0]}, expected at least 2x2")
        low, high = im.min(), im.max()
        if low < -_TOLERANCE or high > 1 + _TOLERANCE:
            raise UserError(f"{self.path}: im: found values from {low:g} to {high:g}, expected them in [0, 1]")
        return np.ascontiguousarray(im, dtype=np.float32)

    def camera(self) -> Camera:
        """Colour matrix and white balance."""
        matrix = self.vector("meta/ColorMatrix2", self.matrix("meta/ColorMatrix2"), [9]).reshape(3, 3)
        neutral = self.vector("meta/AsShotNeutral", self.matrix("meta/AsShotNeutral"), [3])
        if neutral.min() < 1e-3 or neutral.max() > 1e3:
            found = neutral.tolist()
            raise UserError(f"{self.path}: meta/AsShotNeutral: found {found}, expected positive numbers, 0.001 to 1000")
        rgb2cam = rgb2cam_from_xyz2cam(torch.from_numpy(matrix).float()[None])
        if not abs(torch.linalg.det(rgb2cam)) > 1e-6:
            raise UserError(f"{self.path}: meta/ColorMatrix2: found a singular matrix, expected an invertible one")
        gains = (1 / neutral[0], 1 / neutral[2], 1.0)
        return Camera(rgb2cam, *(torch.tensor([gain], dtype=torch.float32) for gain in gains))

    def noise(self) -> NoiseLevel:
        """The camera's noise profile."""
        name = "meta/UnknownTags/Value"
        profile = self.referenced(name, NOISE_PROFILE)
        name = f"{name}[{NOISE_PROFILE}]"
        shot, variance = self.vector(name, profile, [2, 6])[:2]  # a pair for all colours, or one for each
        if min(shot, variance) < 0 or max(shot, variance) >= 1:
            found = f"{shot:g}, {variance:g}"
            raise UserError(f"{self.path}: {name}: found {found}, expected shot noise and read variance in [0, 1)")
        return NoiseLevel("camera", float(shot), math.sqrt(variance))
