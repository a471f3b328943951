"""Linear DNG files: restored pictures for raw converters."""

from pathlib import Path

import numpy as np
import tifffile

import twostagealign
from twostagealign.isp import Camera, xyz2cam
from twostagealign.runtime.files import write_atomically

_LINEAR_RAW = 34892  # PhotometricInterpretation
_D65 = 21  # EXIF LightSource
_WHITE = 65535
_DENOMINATOR = 1_000_000
_BYTE, _ASCII, _SHORT, _LONG, _RATIONAL, _SRATIONAL = 1, 2, 3, 4, 5, 10


def write_linear_dng(path: Path, linear: np.ndarray, camera: Camera) -> None:
    """Write linear camera RGB as a DNG of 16 bits, atomically.

    A raw converter shows what `isp.process` makes of it, up to the converter's own tone curve.

    Args:
        path: file to write; an existing one is replaced.
        linear: camera RGB before white balance, (height, width, 3), floats; 1 is the white level. Clamped to [0, 1].
        camera: colour metadata, a batch of one.

    Raises:
        UserError: the file cannot be written.

    Source:
        Adobe, "Digital Negative (DNG) Specification", version 1.4.
    """
    samples = (linear.clip(0, 1) * _WHITE).round().astype(np.uint16)
    gains = np.array([camera.red_gain.item(), 1.0, camera.blue_gain.item()])
    neutral = gains.min() / gains  # at most 1
    model = b"TwoStageAlign linear RGB\0"
    tags = [
        (271, _ASCII, 14, b"TwoStageAlign\0"),  # Make
        (272, _ASCII, len(model), model),  # Model
        (274, _SHORT, 1, 1),  # Orientation: upright
        (50706, _BYTE, 4, bytes([1, 4, 0, 0])),  # DNGVersion
        (50707, _BYTE, 4, bytes([1, 1, 0, 0])),  # DNGBackwardVersion
        (50708, _ASCII, len(model), model),  # UniqueCameraModel
        (50714, _SHORT, 3, [0, 0, 0]),  # BlackLevel
        (50717, _LONG, 3, [_WHITE] * 3),  # WhiteLevel
        (50721, _SRATIONAL, 9, _rationals(xyz2cam(camera)[0].flatten().tolist())),  # ColorMatrix1
        (50728, _RATIONAL, 3, _rationals(neutral.tolist())),  # AsShotNeutral
        (50730, _SRATIONAL, 1, _rationals([float(np.log2(camera.rgb_gain.item()))])),  # BaselineExposure
        (50778, _SHORT, 1, _D65),  # CalibrationIlluminant1
    ]

    def write(temporary: Path) -> None:
        tifffile.imwrite(
            temporary,
            samples,
            photometric=_LINEAR_RAW,
            planarconfig="contig",
            subfiletype=0,
            metadata=None,
            software=f"TwoStageAlign {twostagealign.__version__}",
            extratags=[(*tag, True) for tag in tags],
        )

    write_atomically(path, write)


def _rationals(values: list[float]) -> list[int]:
    """Numerators and denominators, one after the other."""
    return [part for value in values for part in (round(value * _DENOMINATOR), _DENOMINATOR)]
