"""Bursts of the HDR+ data set, as they are downloaded.

    bursts/NAME/payload_N000.dng            the frames
    bursts/NAME/lens_shading_map_N000.tiff  gains of R, G in red rows, G in blue rows and B, on a grid over the sensor
    results_DATE/NAME/reference_frame.txt   index of the reference frame; it may also be beside the frames

Source: Hasinoff et al., "Burst photography for high dynamic range and low-light imaging on mobile cameras", ACM TOG
2016, and the page of its data set.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from twostagealign.data.metadata import Crop
from twostagealign.data.shading import GainGrid, Shading
from twostagealign.isp import red_position
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular

_FRAME = re.compile(r"payload_N([0-9]+)\.dng", re.ASCII)
_REFERENCE = "reference_frame.txt"
_MOST_BYTES = 2**24


def hdr_plus_frames(folder: Path) -> list[Path]:
    """List the frames of an HDR+ burst in order; empty if the folder does not hold one."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if _FRAME.fullmatch(path.name) and path.is_file()]
    return sorted(found, key=_number)


def hdr_plus_reference(folder: Path, frames: Sequence[Path]) -> int | None:
    """Read which frame the data set says is the reference frame.

    Args:
        folder: folder of the burst.
        frames: its frames, from `hdr_plus_frames`.

    Returns:
        Index into `frames`; None if there is no such file.

    Raises:
        UserError: the file does not hold the number of a frame.
    """
    folder = folder.resolve()
    places = [folder / _REFERENCE, *sorted(folder.parent.parent.glob(f"results_*/{folder.name}/{_REFERENCE}"))]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return None
    text = read_regular(path, 2**10, "the number of a frame").decode(errors="replace").strip()
    numbers = [_number(frame) for frame in frames]
    if not re.fullmatch("[0-9]{1,9}", text, re.ASCII) or int(text) not in numbers:
        raise UserError(f"{path}: found {text[:20]!r}, expected the number of a frame, {numbers[0]} to {numbers[-1]}")
    return numbers.index(int(text))


def hdr_plus_shading(frame: Path, size: tuple[int, int], crop: Crop, cfa: str) -> Shading | None:
    """Read the lens shading map of a frame.

    Args:
        frame: the frame's file.
        size: height and width of the picture without masked borders, samples.
        crop: what is used of it.
        cfa: colours of the upper left 2 x 2 cell of the crop.

    Returns:
        The gains; None if the frame has no such file.

    Raises:
        UserError: the file does not hold such a map.
    """
    found = _FRAME.fullmatch(frame.name)
    path = frame.with_name(f"lens_shading_map_N{found[1]}.tiff") if found else frame
    if not found or not path.is_file():
        return None
    read_regular(path, _MOST_BYTES, "a lens shading map")
    try:
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it raises what it also logs
        gains = np.asarray(tifffile.imread(path), dtype=float)
    except Exception as error:  # tifffile raises many kinds of exception on broken files
        raise UserError(f"{path}: damaged TIFF ({' '.join(str(error).split())})") from error
    if gains.ndim == 3 and gains.shape[0] == 4 != gains.shape[2]:
        gains = gains.transpose(1, 2, 0)
    if gains.ndim != 3 or gains.shape[2] != 4 or min(gains.shape) < 2:
        raise UserError(f"{path}: found an array of {gains.shape}, expected rows and columns of 4 gains")
    if not (gains.min() > 0 and gains.max() < 1000):
        raise UserError(f"{path}: found gains from {gains.min():g} to {gains.max():g}, expected them positive")
    top, left = red_position(cfa)
    spacing = ((size[0] - 1) / (gains.shape[0] - 1), (size[1] - 1) / (gains.shape[1] - 1))
    red, green1, green2, blue = (
        GainGrid(gains[..., channel], (top - crop.top, left - crop.left), spacing) for channel in range(4)
    )
    return Shading(([red], [green1, green2], [blue]))


def _number(path: Path) -> int:
    found = _FRAME.fullmatch(path.name)
    assert found
    return int(found[1])
