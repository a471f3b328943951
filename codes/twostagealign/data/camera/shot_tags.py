"""How a picture was taken: exposure, time, camera and lens, from EXIF or from LibRaw."""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING

from twostagealign.data.camera.tiff_tags import EXIF_IFD, GPS_IFD, SUB_IFDS, Tags
from twostagealign.data.metadata import Exposure, TagValue

if TYPE_CHECKING:
    import rawpy

_MAKE, _MODEL, _ARTIST, _COPYRIGHT = 271, 272, 315, 33432
_TIME, _F_NUMBER, _ISO, _CAPTURED, _SUBSECONDS, _FOCAL_LENGTH, _LENS = 33434, 33437, 34855, 36867, 37521, 37386, 42036
_DATE = 306
_BASELINE_EXPOSURE = 50730
_FROM_MAIN = (_MAKE, _MODEL, _ARTIST, _COPYRIGHT)
_NOT_COPIED = (EXIF_IFD, GPS_IFD, SUB_IFDS, 37500, 37510, 40960, 40961, 40962, 40963, 40965, 41492, 41728, 41730)
"""Pointers, maker's notes and comments, and tags that describe the samples of this file: sizes, colour space, CFA."""
_LONGEST = 256  # characters or bytes of a copied value


@dataclass(frozen=True)
class Shot:
    """How a picture was taken; the attributes are those of `FrameMetadata`."""

    exposure: Exposure
    captured: datetime | None
    make: str
    model: str
    lens: str
    exif: Mapping[int, TagValue]


def describe_shot(tags: Tags, raw: "rawpy.RawPy") -> Shot:
    """Describe how a picture was taken, by its EXIF tags and, where they are silent, by LibRaw.

    Args:
        tags: tags of the file, none if it is not built on TIFF.
        raw: the file, opened by LibRaw.
    """
    known, lens = raw.other, raw.lens
    seconds, iso, f_number, focal_length = (
        _positive(number if tags.number(tag) is None else tags.number(tag))
        for tag, number in (
            (_TIME, known.shutter_speed),
            (_ISO, known.iso_speed),
            (_F_NUMBER, known.aperture),
            (_FOCAL_LENGTH, known.focal_length),
        )
    )
    baseline = tags.number(_BASELINE_EXPOSURE) or 0.0
    exif = {tag: value for tag, value in tags.exif.items() if tag not in _NOT_COPIED and _is_copied(value)}
    exif |= {tag: tags.main[tag] for tag in _FROM_MAIN if _is_copied(tags.main.get(tag, ()))}
    captured = _captured(tags)
    if captured is None and known.timestamp.year > 1980:
        captured = known.timestamp
    name = tags.text(_LENS) or lens.model
    said = {_TIME: seconds, _F_NUMBER: f_number, _FOCAL_LENGTH: focal_length}
    for tag, number in said.items():
        exif.pop(tag, None)
        if number is not None:
            exif[tag] = (Fraction(number).limit_denominator(100_000),)
    exif.pop(_ISO, None)
    if iso is not None and iso < 65536:
        exif[_ISO] = (round(iso),)
    if captured is not None:
        exif.setdefault(_CAPTURED, captured.strftime("%Y:%m:%d %H:%M:%S"))
    if name:
        exif.setdefault(_LENS, name)
    exposure = Exposure(seconds, iso, f_number, baseline if abs(baseline) < 20 else 0.0)
    return Shot(exposure, captured, tags.text(_MAKE), tags.text(_MODEL), name, exif)


def _captured(tags: Tags) -> datetime | None:
    """Local time of the capture."""
    for tag in (_CAPTURED, _DATE):
        with suppress(ValueError):
            moment = datetime.strptime(tags.text(tag), "%Y:%m:%d %H:%M:%S")
            digits = tags.text(_SUBSECONDS)
            return moment + timedelta(seconds=float(f"0.{digits}") if digits.isdecimal() and digits.isascii() else 0)
    return None


def _positive(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) and 1e-9 < number < 1e9 else None


def _is_copied(value: TagValue) -> bool:
    """Whether a value is short, and known."""
    known = isinstance(value, str | bytes) or all(map(math.isfinite, value))
    return 0 < len(value) <= _LONGEST and known
