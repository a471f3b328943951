"""Noise of a camera, measured by photon transfer from pairs of flat frames and from dark frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import NoiseLevel
from twostagealign.data.camera.raw_folder import open_files
from twostagealign.data.camera.survey import FrameFile, read_planes
from twostagealign.data.frame_files import list_frames
from twostagealign.isp import find_saturation, fit_photon_transfer, transfer_points
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.yaml_file import dump_yaml

_CLIPPED = 0.95  # of the white level; samples above may be clipped
_PAIR = 0.03  # relative difference of brightness within a pair
_RANGE = 2.0  # brightest over darkest signal that a line needs
_MOST_POINTS = 20_000  # in a plot


@dataclass(frozen=True)
class Calibration:
    """Levels and noise of a camera at one ISO.

    Attributes:
        camera: maker and model, "" if unknown.
        iso: ISO speed, None if unknown.
        black: black level of R, G in red rows, G in blue rows and B.
        white: level at which samples are clipped.
        noise: noise level, on the [0, 1] scale.
        pairs: number of pairs of flat frames.
        points: signal and variance of blocks, on the [0, 1] scale, (K, 2).
    """

    camera: str
    iso: float | None
    black: tuple[float, float, float, float]
    white: float
    noise: NoiseLevel
    pairs: int
    points: np.ndarray

    def camera_file(self) -> str:
        """Text of a camera.yml for raw files: the levels and the noise."""
        values = {
            "black_level": [round(level, 3) for level in self.black],
            "white_level": self.white,
            "noise": {"shot": float(f"{self.noise.shot:.4g}"), "read": float(f"{self.noise.read:.4g}")},
        }
        iso = "unknown ISO" if self.iso is None else f"ISO {self.iso:g}"
        said = f"{self.camera or 'Unknown camera'} at {iso}: photon transfer from {self.pairs} pairs of flat frames"
        printable = "".join(character if character.isprintable() else "?" for character in said)
        return f"# {printable}\n{dump_yaml(values)}"


def calibrate(flats: Path, darks: Path) -> Calibration:
    """Measure levels and noise of a camera.

    Args:
        flats: folder of frames of an evenly lit surface, out of focus: two or more of each of several exposures, all at
            one ISO, in order.
        darks: folder of two or more frames without light, at the same ISO.

    Raises:
        UserError: a folder cannot be used, its frames are of different cameras or ISO, or they do not show the noise.
    """
    bright, dark = (open_files(folder, list_frames(folder)) for folder in (flats, darks))
    _check_alike(flats, [*bright, *dark])
    if len(dark) < 2:
        raise UserError(f"{darks}: one dark frame, expected two or more")
    without_light = [read_planes(file).float() for file in dark]
    black = torch.stack([planes.mean(dim=(1, 2)) for planes in without_light]).mean(dim=0)
    white = _white_level(bright, black)
    scale = white - float(black.max())
    if scale <= 0:
        raise UserError(f"{darks}: as bright as the white level {white:g}, expected frames without light")
    pairs = [_points(one, other, black, scale) for one, other in pairwise(without_light)]
    count = 0
    for one, other in _pairs_of(bright, black):
        pairs.append(_points(one, other, black, scale))
        count += 1
    points = torch.cat(pairs)
    lit = points[sum(map(len, pairs[: len(dark) - 1])) :]
    if count == 0:
        raise UserError(f"{flats}: no two consecutive frames of equal brightness, expected pairs")
    if not len(lit) or lit[:, 0].quantile(0.98) < _RANGE * lit[:, 0].quantile(0.02).clamp_min(1e-6):
        raise UserError(f"{flats}: frames of one brightness, or clipped; expected pairs of several exposures")
    try:
        shot, read = fit_photon_transfer(points)
    except ValueError as error:
        raise UserError(f"{flats}: {error}; expected flat frames straight from a sensor") from None
    metadata = bright[0].metadata
    return Calibration(
        camera=f"{metadata.make} {metadata.model}".strip(),
        iso=metadata.exposure.iso,
        black=tuple(black.tolist()),
        white=white,
        noise=NoiseLevel("camera", shot, read),
        pairs=count,
        points=points[:: max(1, len(points) // _MOST_POINTS)].numpy(),
    )


def _check_alike(folder: Path, files: Sequence[FrameFile]) -> None:
    first = files[0].metadata
    for file in files[1:]:
        found, expected = (
            (known.crop, known.cfa, known.make, known.model, known.exposure.iso) for known in (file.metadata, first)
        )
        if found != expected:
            raise UserError(f"{file.path}: of another camera, size or ISO than {files[0].path.name} in {folder}")


def _white_level(files: Sequence[FrameFile], black: Tensor) -> float:
    """Stated white level, or where the samples pile up."""
    levels = files[0].metadata.levels
    assert levels
    counts = np.zeros(2**16, np.int64)
    for file in files:
        counts += np.bincount(read_planes(file).numpy().ravel(), minlength=2**16)
    return find_saturation(counts, float(black.max()), levels.white) or levels.white


def _pairs_of(files: Sequence[FrameFile], black: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Consecutive frames of equal brightness, each frame in one pair."""
    pairs, waiting = [], None
    for file in files:
        planes = read_planes(file).float()
        if waiting is None:
            waiting = planes
            continue
        means = [float(frame.mean() - black.mean()) for frame in (waiting, planes)]
        if abs(means[1] - means[0]) < _PAIR * max(means):
            pairs.append((waiting, planes))
            waiting = None
        else:
            waiting = planes
    return pairs


def _points(one: Tensor, other: Tensor, black: Tensor, scale: float) -> Tensor:
    level = black[:, None, None]
    return transfer_points((one - level) / scale, (other - level) / scale, _CLIPPED)
