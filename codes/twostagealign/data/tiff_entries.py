"""TIFF tags in the types in which files store them."""

import math
import struct
from collections.abc import Iterable, Sequence
from enum import IntEnum
from fractions import Fraction
from typing import Any

from PIL.TiffImagePlugin import IFDRational, ImageFileDirectory_v2

from twostagealign.data.metadata import TagValue


class TiffType(IntEnum):
    """Types of values. Source: TIFF 6.0, section 2."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    UNDEFINED = 7
    SRATIONAL = 10
    FLOAT = 11
    DOUBLE = 12


Entry = tuple[int, int, int, Any, bool]
"""An item of tifffile's `extratags`: number, type, count, bytes or numbers, whether it is written once."""

_RANGES = {
    TiffType.BYTE: (0, 2**8 - 1),
    TiffType.SHORT: (0, 2**16 - 1),
    TiffType.LONG: (0, 2**32 - 1),
    TiffType.RATIONAL: (0, 2**32 - 1),
    TiffType.SRATIONAL: (-(2**31), 2**31 - 1),
}
_PRECISION = 1_000_000  # largest denominator of a rational number
_MOST_VALUES = 2**20


def make_entry(number: int, value: TagValue, kind: TiffType | None = None) -> Entry | None:
    """Bring the value of a tag into the type that a file stores.

    Args:
        number: number of the tag.
        value: value of the tag, of any origin.
        kind: type to store; None: the usual one of such a value.

    Returns:
        The entry; None if the value is empty, too long, or does not fit the type.
    """
    if not 0 < len(value) <= _MOST_VALUES:
        return None
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").replace(b"\0", b" ") + b"\0"
        return (number, TiffType.ASCII, len(text), text, True) if kind in (None, TiffType.ASCII) else None
    if isinstance(value, bytes):
        fits = kind in (None, TiffType.BYTE, TiffType.UNDEFINED)
        return (number, kind or TiffType.UNDEFINED, len(value), value, True) if fits else None
    if kind in (TiffType.ASCII, TiffType.UNDEFINED):
        return None
    try:
        values, kind = _numbers(value, kind)
    except (ValueError, OverflowError):  # infinite or NaN
        return None
    low, high = _RANGES.get(kind, (-math.inf, math.inf))
    if not (low <= min(values) and max(values) <= high):
        return None
    return number, kind, len(value), bytes(map(int, values)) if kind == TiffType.BYTE else values, True


def _numbers(
    value: Sequence[int | float | Fraction], kind: TiffType | None
) -> tuple[tuple[int, ...] | tuple[float, ...], TiffType]:
    """Values as they are stored, and their type."""
    whole = all(isinstance(part, int) for part in value)
    kind = kind or ((TiffType.SHORT if max(value) < 2**16 else TiffType.LONG) if whole else TiffType.RATIONAL)
    if kind in (TiffType.RATIONAL, TiffType.SRATIONAL):
        ratios = [Fraction(part).limit_denominator(_PRECISION) for part in value]
        return tuple(part for ratio in ratios for part in ratio.as_integer_ratio()), kind
    if kind in (TiffType.FLOAT, TiffType.DOUBLE):
        return tuple(map(float, value)), kind
    return tuple(map(int, value)), kind


def encode_directory(entries: Iterable[Entry], offset: int) -> bytes:
    """Encode a directory.

    Args:
        entries: its tags, by number.
        offset: where it will be in the file, bytes.
    """
    # No group that Pillow knows: it would cut values down to the number that it expects of a tag.
    directory = ImageFileDirectory_v2(b"II*\0" + struct.pack("<I", 8), group=0)
    for number, kind, _, values, _ in entries:
        directory.tagtype[number] = kind
        if kind in (TiffType.RATIONAL, TiffType.SRATIONAL):
            directory[number] = tuple(IFDRational(*pair) for pair in zip(values[::2], values[1::2], strict=True))
        elif kind == TiffType.ASCII:
            directory[number] = values[:-1]
        else:
            directory[number] = values
    return directory.tobytes(offset)
