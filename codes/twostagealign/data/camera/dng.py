"""What a DNG says in tags of its own: levels, crop, colours, noise and lens shading.

Source: Adobe, "Digital Negative (DNG) Specification", version 1.7, chapter 4.
"""

import math
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from twostagealign.data.camera.tiff_tags import LINEAR_RAW, Tags
from twostagealign.data.metadata import Crop
from twostagealign.data.shading import GainGrid, Shading
from twostagealign.isp import ILLUMINANTS, neutral_of_white, red_position
from twostagealign.runtime.errors import UserError

_VERSION, _PHOTOMETRIC, _CFA_REPEAT = 50706, 262, 33421
_BLACK_REPEAT, _BLACK, _BLACK_COLUMNS, _BLACK_ROWS, _WHITE = 50713, 50714, 50715, 50716, 50717
_CROP_ORIGIN, _CROP_SIZE = 50719, 50720
_UNIQUE_MODEL, _FORWARD_MATRIX = 50708, (50964, 50965)
_MATRIX, _CALIBRATION, _BALANCE, _NEUTRAL, _WHITE_XY = (50721, 50722), (50723, 50724), 50727, 50728, 50729
_ILLUMINANT, _CAMERA_SIGNATURE, _PROFILE_SIGNATURE = (50778, 50779), 50931, 50932
_MASKED_AREAS, _OPCODES_2, _NOISE = 50830, 51009, 51041
_GAIN_MAP = 9
_DELTAS = ((_BLACK_ROWS, "BlackLevelDeltaV"), (_BLACK_COLUMNS, "BlackLevelDeltaH"))

COLOUR_TAGS = (
    _UNIQUE_MODEL,
    *_MATRIX,
    *_FORWARD_MATRIX,
    *_CALIBRATION,
    _BALANCE,
    _NEUTRAL,
    _WHITE_XY,
    *_ILLUMINANT,
    _CAMERA_SIGNATURE,
    _PROFILE_SIGNATURE,
)
"""Tags that describe the colours of a DNG."""


@dataclass(frozen=True)
class BlackLevel:
    """Black level of every sample: a repeated pattern, plus an offset for each column and for each row.

    Attributes:
        pattern: (rows, columns) of the pattern, which starts at the first sample that is not masked.
        rows: offset of each row, empty if there are none.
        columns: offset of each column, empty if there are none.
    """

    pattern: np.ndarray
    rows: Sequence[float] = ()
    columns: Sequence[float] = ()

    def at(self, crop: Crop) -> np.ndarray:
        """Black level of each sample of a crop, (height, width), float32."""
        rows = np.arange(crop.top, crop.top + crop.height)
        columns = np.arange(crop.left, crop.left + crop.width)
        height, width = self.pattern.shape
        level = self.pattern[rows[:, None] % height, columns % width].astype(np.float32)
        if len(self.rows):
            level += np.resize(np.asarray(self.rows, np.float32), rows[-1] + 1)[rows, None]
        if len(self.columns):
            level += np.resize(np.asarray(self.columns, np.float32), columns[-1] + 1)[columns]
        return level


def is_dng(tags: Tags) -> bool:
    """Whether the tags are those of a DNG."""
    return _VERSION in tags.main


def has_masked_areas(tags: Tags) -> bool:
    """Whether the file says which samples see no light."""
    return _MASKED_AREAS in tags.raw


def check_layout(tags: Tags) -> None:
    """Refuse a DNG whose samples are no Bayer mosaic.

    Raises:
        UserError: it has been demosaicked, or its colours repeat in another size than 2 x 2.
    """
    if tags.raw.get(_PHOTOMETRIC) == (LINEAR_RAW,):
        raise UserError(f"{tags.path}: linear DNG, already demosaicked; give the raw files that it was made from")
    repeat = tags.numbers(_CFA_REPEAT, "CFARepeatPatternDim", (2,))
    if repeat and repeat != (2, 2):
        sensors: dict[tuple[float, ...], str] = {
            (4, 4): "a Quad Bayer sensor at full resolution; ",
            (6, 6): "an X-Trans sensor; ",
        }
        what = sensors.get(repeat, "")
        size = "x".join(f"{side:g}" for side in repeat)
        raise UserError(f"{tags.path}: {what}colour filters repeat every {size} samples, expected a Bayer mosaic (2x2)")


def black_level(tags: Tags) -> BlackLevel | None:
    """Read the black level; None if the file does not give it.

    Raises:
        UserError: the tags contradict each other.
    """
    levels = tags.numbers(_BLACK, "BlackLevel")
    rows, columns = (tags.numbers(tag, name) or () for tag, name in _DELTAS)
    if levels is None:
        return None
    height, width = (int(side) for side in tags.numbers(_BLACK_REPEAT, "BlackLevelRepeatDim", (2,)) or (1, 1))
    if height < 1 or width < 1 or len(levels) != height * width:
        raise UserError(
            f"{tags.path}: damaged DNG (BlackLevel: found {len(levels)} numbers for a pattern of {height}x{width})"
        )
    return BlackLevel(np.reshape(levels, (height, width)), rows, columns)


def white_level(tags: Tags) -> float | None:
    """Read the white level; None if the file does not give it."""
    levels = tags.numbers(_WHITE, "WhiteLevel")
    return levels[0] if levels else None


def default_crop(tags: Tags) -> Crop | None:
    """Read the crop that a raw developer shows; None if the file does not give it."""
    origin = tags.numbers(_CROP_ORIGIN, "DefaultCropOrigin", (2,))
    size = tags.numbers(_CROP_SIZE, "DefaultCropSize", (2,))
    if size is None:
        return None
    left, top, width, height = (round(value) for value in (*(origin or (0, 0)), *size))
    return Crop(top, left, height, width)


def colour_matrices(tags: Tags) -> dict[float, np.ndarray]:
    """Read XYZ -> camera RGB, with calibration and analog balance, for each colour temperature, kelvin.

    A matrix for a light without colour temperature is used only if it is the only one.
    """
    balance = np.diag(tags.numbers(_BALANCE, "AnalogBalance", (3,)) or np.ones(3))
    is_own = tags.main.get(_CAMERA_SIGNATURE, "") == tags.main.get(_PROFILE_SIGNATURE, "")
    matrices: dict[float, np.ndarray] = {}
    for number, (matrix_tag, calibration_tag, light_tag) in enumerate(
        zip(_MATRIX, _CALIBRATION, _ILLUMINANT, strict=True), 1
    ):
        values = tags.numbers(matrix_tag, f"ColorMatrix{number}", (9,))
        if values is None:
            continue
        calibration = tags.numbers(calibration_tag, f"CameraCalibration{number}", (9,)) if is_own else None
        matrix = np.reshape(values, (3, 3))
        if calibration:
            matrix = np.reshape(calibration, (3, 3)) @ matrix
        light = tags.numbers(light_tag, f"CalibrationIlluminant{number}") or (0,)
        kelvin = ILLUMINANTS.get(int(light[0]))
        if kelvin or not matrices:
            matrices[kelvin or 6500] = balance @ matrix
    return matrices


def as_shot_neutral(tags: Tags, matrices: dict[float, np.ndarray]) -> tuple[np.ndarray, str] | None:
    """Read the camera RGB of a neutral object, and the name of the tag it comes from; None if there is none.

    Raises:
        UserError: the tag does not describe a light.
    """
    neutral = tags.numbers(_NEUTRAL, "AsShotNeutral", (3,))
    if neutral:
        if min(neutral) <= 0:
            raise UserError(f"{tags.path}: damaged DNG (AsShotNeutral: found {min(neutral):g}, expected more than 0)")
        return np.array(neutral), "AsShotNeutral"
    white = tags.numbers(_WHITE_XY, "AsShotWhiteXY", (2,))
    if not white or not matrices:
        return None
    x, y = white
    if min(x, y) <= 0 or x + y >= 1:
        raise UserError(f"{tags.path}: damaged DNG (AsShotWhiteXY: found {x:g}, {y:g}, expected the colour of a light)")
    try:
        return neutral_of_white(matrices, (x, y)), "AsShotWhiteXY"
    except ValueError as error:
        raise UserError(f"{tags.path}: AsShotWhiteXY: {error}") from None


def noise_profile(tags: Tags) -> tuple[float, float] | None:
    """Read shot and read noise, the mean over the colours; None if the file does not give them."""
    profile = tags.numbers(_NOISE, "NoiseProfile")
    if profile is None:
        return None
    if len(profile) % 2:
        raise UserError(f"{tags.path}: damaged DNG (NoiseProfile: found {len(profile)} numbers, expected pairs)")
    shot, variance = np.reshape(profile, (-1, 2)).mean(axis=0)
    return float(shot), math.sqrt(max(variance, 0))


def lens_shading(tags: Tags, size: tuple[int, int], crop: Crop, cfa: str) -> Shading | None:
    """Read the lens shading from the gain maps of OpcodeList2; None if there are none.

    Args:
        tags: tags of the file.
        size: height and width of the picture without masked borders, samples.
        crop: what is used of it.
        cfa: colours of the upper left 2 x 2 cell of the crop.

    Raises:
        UserError: a gain map is damaged.
    """
    data = tags.raw.get(_OPCODES_2)
    if not isinstance(data, bytes):
        return None
    top, left = red_position(cfa)
    colours: tuple[list[GainGrid], list[GainGrid], list[GainGrid]] = ([], [], [])
    try:
        for area, grid in _gain_maps(data, size, (top - crop.top, left - crop.left)):
            for colour in _colours_of(area, crop, cfa):
                colours[colour].append(grid)
    except (struct.error, ValueError) as error:
        raise UserError(f"{tags.path}: damaged DNG (OpcodeList2: {error})") from error
    if not any(colours):
        return None
    if not all(colours):
        raise UserError(f"{tags.path}: OpcodeList2 has gain maps for some colours only")
    return Shading(colours)


def _gain_maps(data: bytes, size: tuple[int, int], shift: tuple[int, int]) -> Iterator[tuple[Any, GainGrid]]:
    """Yield top, left, row pitch and column pitch of each gain map, and its grid in samples, moved by `shift`."""
    (count,) = struct.unpack_from(">I", data)
    start = 4
    for _ in range(count):
        opcode, _, _, length = struct.unpack_from(">4I", data, start)
        start += 16
        if opcode == _GAIN_MAP:
            top, left, _, _, _, _, row_pitch, column_pitch, rows, columns = struct.unpack_from(">10I", data, start)
            placement = struct.unpack_from(">4d", data, start + 40)
            (planes,) = struct.unpack_from(">I", data, start + 72)
            if not all(map(math.isfinite, placement)) or 0 in (rows, columns, planes, row_pitch, column_pitch):
                raise ValueError("a gain map without size")
            if 4 * rows * columns * planes > len(data):
                raise ValueError("a gain map larger than the tag that contains it")
            gains = np.frombuffer(data, ">f4", rows * columns * planes, start + 76).reshape(rows, columns, planes)
            if not (gains.min() > 0 and gains.max() < 1000):
                raise ValueError("gains of a gain map that are not positive")
            (height, width), (step_y, step_x, at_y, at_x), (down, right) = size, placement, shift
            spacing = (height * step_y if step_y > 0 else 1.0, width * step_x if step_x > 0 else 1.0)
            origin = (height * at_y + down, width * at_x + right)
            yield (top, left, row_pitch, column_pitch), GainGrid(gains[..., 0].astype(float), origin, spacing)
        start += length


def _colours_of(area: tuple[int, int, int, int], crop: Crop, cfa: str) -> set[int]:
    """Colours, as indices into RGB, of the samples that a gain map is for."""
    top, left, row_pitch, column_pitch = area
    rows, columns = (
        {(start + step - offset) % 2 for step in (0, pitch)}
        for start, pitch, offset in ((top, row_pitch, crop.top), (left, column_pitch, crop.left))
    )
    return {"RGB".index(cfa[2 * row + column]) for row in rows for column in columns}
