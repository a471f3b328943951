"""Raw frames of a real camera that are already in memory."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Levels, NoiseLevel, RawFrame
from twostagealign.data.sequence import UniformSequence
from twostagealign.isp import Camera, estimate_noise, extend_to_rggb, pack, red_position


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
    top, left = red_position(cfa)
    height, width = mosaics.shape[1:]
    size = ((top + height + 1) // 2, (left + width + 1) // 2)
    names = [str(index) for index in range(len(mosaics))]
    return MosaicsInMemory("arrays", names, size, camera, noise, mosaics, cfa, levels)


def estimate_mosaic_noise(mosaic: np.ndarray, cfa: str, levels: Levels | None) -> NoiseLevel:
    """Estimate the noise of a mosaic.

    Args:
        mosaic: (height, width), as in `MosaicsInMemory`.
        cfa: colours of the upper left 2 x 2 cell.
        levels: black and white level of integer samples; None for samples in [0, 1].

    Returns:
        The noise level, named "camera".

    Raises:
        ValueError: the mosaic is too small, or clipped at every brightness.
    """
    planes = _planes(mosaic, cfa)
    return NoiseLevel("camera", *estimate_noise(levels.scale(planes) if levels else planes))


def _planes(mosaic: np.ndarray, cfa: str) -> Tensor:
    """Raw planes of a mosaic in its dtype, (4, H, W), extended to whole RGGB cells."""
    # Few operations of torch take uint16.
    planes = pack(extend_to_rggb(torch.from_numpy(mosaic.astype(np.float32))[None], cfa))[0]
    return torch.from_numpy(planes.numpy().astype(mosaic.dtype))
