"""DNGs, written tag by tag."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

XYZ2CAM = ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406))


@pytest.fixture(scope="session")
def write_dng() -> Callable[..., None]:
    """The function that writes a DNG."""
    return _write_dng


@pytest.fixture(scope="session")
def fractions() -> Callable[[Sequence[float]], list[int]]:
    """The function that turns numbers into the value of a rational tag."""
    return _fractions


def _fractions(values: Sequence[float]) -> list[int]:
    return [part for value in values for part in (round(value * 10_000), 10_000)]


def _write_dng(
    path: Path,
    mosaic: np.ndarray,
    cfa: str = "RGGB",
    leave_out: Sequence[int] = (),
    nested: bool = False,
    extra: Sequence[tuple] = (),
    **changes,
) -> None:
    """Write an uncompressed DNG; `changes` are other values of `tags`, `extra` are further tags of the mosaic.

    `nested`, as most cameras write it: a preview comes first, and the mosaic in a directory below it.
    """
    tags = {
        "black": (60, 61, 62, 63),  # row by row
        "white": 1023,
        "matrix": XYZ2CAM,
        "neutral": (0.5, 1, 0.6),
        "noise": (2e-3, 9e-6),
        "orientation": 1,
    } | changes
    of_picture = [
        (274, "H", 1, tags["orientation"]),
        (50706, "B", 4, bytes((1, 4, 0, 0))),
        (50708, "s", 0, "A camera"),
        (50721, "2i", 9, _fractions(np.ravel(tags["matrix"]))),
        (50728, "2I", 3, _fractions(tags["neutral"])),
        (50778, "H", 1, 21),  # the matrix is for D65
    ]
    of_mosaic = [
        (33421, "H", 2, (2, 2)),
        (33422, "B", 4, bytes("RGB".index(colour) for colour in cfa)),
        (50713, "H", 2, (2, 2)),
        (50714, "I", 4, tags["black"]),
        (50717, "I", 1, tags["white"]),
        (51041, "d", len(tags["noise"]), tags["noise"]),
    ]
    of_picture, of_mosaic = (
        [(*tag, True) for tag in tags if tag[0] not in leave_out] for tags in (of_picture, of_mosaic)
    )
    further = [(*tag, True) for tag in extra]
    with tifffile.TiffWriter(path) as file:
        if nested:
            preview = np.zeros((10, 12, 3), np.uint8)
            file.write(preview, photometric="rgb", subifds=1, subfiletype=1, metadata=None, extratags=of_picture)
            of_picture = []
        # Photometric interpretation: a colour filter array.
        file.write(mosaic, photometric=32803, metadata=None, extratags=[*of_picture, *of_mosaic, *further])
