"""Raw frames of a real camera that are already in memory."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Levels, NoiseLevel, RawFrame
from twostagealign.data.sequence import UniformSequence
from twostagealign.isp import Camera, estimate_burst_noise, extend_to_rggb, pack, red_position

_EXAMINED = 9  # mosaics that noise is estimated from


@dataclass(frozen=True)
class MosaicsInMemory(UniformSequence):
    """A sequence of Bayer mosaics in memory, extended by mirrored rows and columns to whole RGGB cells.

    Attributes:
        mosaics: (N, height, width), uint16 in the units of `levels`, or float32 in [0, 1].
        cfa: colours of the upper left 2 x 2 cell, one of `isp.CFA_ORDERS`.
        levels: black and white level of integer samples; None for samples in [0, 1].
    """

    mosaics: np.ndarray
    cfa: str
    levels: Levels | None

    def read(self, index: int) -> RawFrame:
        """Return a frame."""
        return RawFrame(_planes(self.mosaics[index], self.cfa), self.noise, self.levels)

    def finish(self, picture: np.ndarray, index: int) -> np.ndarray:
        """Cut the mirrored rows and columns off a restored picture."""
        top, left = red_position(self.cfa)
        height, width = self.mosaics.shape[1:]
        return picture[top : top + height, left : left + width]


def mosaics_in_memory(
    mosaics: np.ndarray, cfa: str, levels: Levels | None, camera: Camera, noise: NoiseLevel
) -> MosaicsInMemory:
    """Make a sequence of mosaics; see `MosaicsInMemory` for the arguments. Its frames are numbered from 0."""
    names = [str(index) for index in range(len(mosaics))]
    return MosaicsInMemory("arrays", names, _size(mosaics, cfa), camera, noise, mosaics, cfa, levels)


def estimate_mosaic_noise(mosaics: np.ndarray, cfa: str, levels: Levels | None) -> NoiseLevel:
    """Estimate the noise of consecutive mosaics, of more than nine from the nine in the middle.

    Args:
        mosaics: (N, height, width), as in `MosaicsInMemory`.
        cfa: colours of the upper left 2 x 2 cell.
        levels: black and white level of integer samples; None for samples in [0, 1].

    Returns:
        The noise level, named "camera".

    Raises:
        ValueError: the mosaics are too small, or clipped at every brightness.
    """

    def rows_of(mosaic: np.ndarray, rows: slice) -> Tensor:
        planes = _planes(mosaic, cfa)[:, rows]
        return levels.scale(planes) if levels else planes

    first = max(len(mosaics) - _EXAMINED, 0) // 2
    frames = [partial(rows_of, mosaic) for mosaic in mosaics[first : first + _EXAMINED]]
    shot, read = estimate_burst_noise(frames, _size(mosaics, cfa))
    return NoiseLevel("camera", min(shot, 1.0), min(read, 1.0))


def _size(mosaics: np.ndarray, cfa: str) -> tuple[int, int]:
    """Height and width of the raw planes."""
    top, left = red_position(cfa)
    height, width = mosaics.shape[1:]
    return (top + height + 1) // 2, (left + width + 1) // 2


def _planes(mosaic: np.ndarray, cfa: str) -> Tensor:
    """Raw planes of a mosaic in its dtype, (4, H, W), extended to whole RGGB cells."""
    # Few operations of torch take uint16.
    planes = pack(extend_to_rggb(torch.from_numpy(mosaic.astype(np.float32))[None], cfa))[0]
    return torch.from_numpy(planes.numpy().astype(mosaic.dtype))
