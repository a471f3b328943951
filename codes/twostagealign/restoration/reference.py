"""Pictures of single raw frames: what a burst looks like before it is restored."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Burst, RawFrame
from twostagealign.isp import Camera, demosaic
from twostagealign.restoration.outputs import Rendering

_BAND = 128  # rows of the picture that are demosaicked at a time, which bounds the memory
_REACH = 1  # raw rows to each side that the demosaicking filters look at


def demosaic_reference(burst: Burst) -> np.ndarray:
    """Demosaic the reference frame of a burst, without lens shading: linear camera RGB, (2H, 2W, 3) float32.

    Args:
        burst: the burst, of at least 2 x 2 raw planes.
    """
    height, width = (2 * side for side in burst.size)
    picture = np.empty((height, width, 3), np.float32)
    for top in range(0, height, _BAND):
        rows = range(top, min(top + _BAND, height))
        picture[rows.start : rows.stop] = demosaic_rows(burst, rows).permute(1, 2, 0).numpy()
    return picture


def demosaic_rows(burst: Burst, rows: range) -> Tensor:
    """Demosaic rows of the reference frame of a burst, without lens shading.

    Args:
        burst: the burst, of at least 2 x 2 raw planes.
        rows: rows of the picture; they begin and end at even numbers.

    Returns:
        Linear camera RGB, (3, rows, 2W), float32, on the CPU.
    """
    height, width = burst.size
    first, last = max(rows.start // 2 - _REACH, 0), min(rows.stop // 2 + _REACH, height)
    band = demosaic(burst.reference.raw(slice(first, last)))[:, rows.start - 2 * first :][:, : len(rows)]
    return band if burst.shading is None else band * burst.shading.gains(rows, range(2 * width))


def small_picture(frame: RawFrame, camera: Camera, side: int, rendering: Rendering) -> tuple[np.ndarray, int]:
    """Make a small picture of a raw frame by averaging blocks of samples.

    Args:
        frame: the frame, H x W planes.
        camera: its colours, a batch of one.
        side: wanted length of the longer side, pixels.
        rendering: how it is rendered.

    Returns:
        sRGB, and how many raw samples one of its pixels stands for on each side.
    """
    height, width = frame.planes.shape[-2:]
    block = max(math.ceil(max(height, width) / side), 1)
    planes = frame.raw(slice(0, max(height // block, 1) * block), slice(0, max(width // block, 1) * block))
    red, green1, green2, blue = planes.numpy()
    binned = np.stack((red, (green1 + green2) / 2, blue), axis=2)
    size = (max(width // block, 1), max(height // block, 1))
    small = cv2.resize(binned, size, interpolation=cv2.INTER_AREA)
    return rendering.pixels(torch.from_numpy(small).permute(2, 0, 1), camera), 2 * block
