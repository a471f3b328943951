"""Tags of TIFF files and of the raw formats built on TIFF: DNG, CR2, NEF, ARW, ORF, PEF, RW2 and others.

Libraries that read TIFF do not read the directories of all these formats, or replace numbers of tags by names.
"""

import io
import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from twostagealign.data.metadata import TagValue
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import open_regular

SUB_IFDS, EXIF_IFD, GPS_IFD = 330, 34665, 34853
_NEW_SUBFILE_TYPE, _PHOTOMETRIC = 254, 262
_CFA, LINEAR_RAW = 32803, 34892

_RW2 = 0x55
_MAGIC = (42, _RW2, 0x4F52, 0x5352)  # TIFF, RW2, ORF, ORF
_PLACES, _PLACES_RW2 = ((273, 279), (324, 325)), ((280, 279),)
"""Tags that say where the samples are and how many bytes they take, in strips and in tiles."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_FORMATS = {3: "H", 4: "I", 5: "I", 6: "b", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d", 13: "I"}
_TEXT, _BYTES, _RATIONALS = 2, (1, 7), (5, 10)
_MOST_DIRECTORIES = 32  # in a chain; cameras write up to ten. In a damaged file, a chain may lead back to itself.
_MOST_TAGS = 1000  # in a directory
_MOST_NUMBERS, _MOST_BYTES = 2**22, 2**26  # bytes in all values of a file; in a damaged file, values may overlap


@dataclass(frozen=True)
class Tags:
    """Tags of a raw file by number.

    Attributes:
        path: the file, for errors.
        raw: tags of the directory that holds the mosaic.
        main: tags of the first directory.
        exif: EXIF tags.
        gps: tags of the position.
        missing: bytes of the samples that are missing at the end of the file; 0 or less if none are.
    """

    path: Path
    raw: Mapping[int, TagValue] = field(default_factory=dict)
    main: Mapping[int, TagValue] = field(default_factory=dict)
    exif: Mapping[int, TagValue] = field(default_factory=dict)
    gps: Mapping[int, TagValue] = field(default_factory=dict)
    missing: float = 0

    def numbers(self, tag: int, name: str, counts: tuple[int, ...] = ()) -> tuple[float, ...] | None:
        """Return the numbers of a tag, which is looked up beside the mosaic and then in the first directory.

        Args:
            tag: number of the tag.
            name: name of the tag, for errors.
            counts: how many numbers it may have; empty: any.

        Returns:
            The numbers; None if there is no such tag.

        Raises:
            UserError: the tag holds something else.
        """
        value = self.raw.get(tag, self.main.get(tag))
        if value is None:
            return None
        if isinstance(value, str) or not value or not all(math.isfinite(number) for number in value):
            raise UserError(f"{self.path}: damaged DNG ({name}: expected numbers)")
        if counts and len(value) not in counts:
            expected = " or ".join(map(str, counts))
            raise UserError(f"{self.path}: damaged DNG ({name}: found {len(value)} numbers, expected {expected})")
        return tuple(float(number) for number in value)

    def number(self, tag: int) -> float | None:
        """Return the first number of an EXIF tag, or of one in the first directory; None if there is no usable one."""
        value = self.exif.get(tag, self.main.get(tag))
        return float(value[0]) if isinstance(value, tuple) and value and math.isfinite(value[0]) else None

    def text(self, tag: int) -> str:
        """Return the text of an EXIF tag, or of one in the first directory; "" if there is none."""
        value = self.exif.get(tag, self.main.get(tag))
        return value if isinstance(value, str) else ""


def read_tags(path: Path) -> Tags:
    """Read the tags of a raw file.

    Args:
        path: the file.

    Returns:
        The tags; none if the file is not built on TIFF.

    Raises:
        UserError: the file cannot be opened, or its directories are damaged.
    """
    with open_regular(path, 2**32, "a raw file") as file:
        head = file.read(8)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            return Tags(path)
        magic, offset = struct.unpack(f"{order}HI", head[2:])
        if magic not in _MAGIC:
            return Tags(path)
        try:
            reader = _Reader(file, order)
            chain = list(reader.chain(offset))
            below = [tags for parent in chain for tags in reader.below(parent, SUB_IFDS)]
            raw = next(filter(_holds_raw_data, (*chain, *below)), {})
            exif = next(iter(reader.below(chain[0], EXIF_IFD)), {})
            gps = next(iter(reader.below(chain[0], GPS_IFD)), {})
        except (struct.error, OSError, ValueError) as error:
            raise UserError(f"{path}: not a raw file, or corrupt (tags: {error})") from error
        size = file.seek(0, io.SEEK_END)
    stored, places = (chain[0], _PLACES_RW2) if magic == _RW2 else (raw, _PLACES)
    ends = [0.0]
    for offsets, counts in places:
        starts, lengths = stored.get(offsets), stored.get(counts)
        if isinstance(starts, tuple) and isinstance(lengths, tuple):
            ends += [float(start) + float(length) for start, length in zip(starts, lengths, strict=False)]
    return Tags(path, raw, chain[0], exif, gps, missing=max(ends) - size)


def _holds_raw_data(tags: Mapping[int, TagValue]) -> bool:
    """Whether a directory is that of the full mosaic, or of a picture that has been demosaicked."""
    is_full = tags.get(_NEW_SUBFILE_TYPE, (0,)) == (0,)
    return is_full and tags.get(_PHOTOMETRIC) in ((_CFA,), (LINEAR_RAW,))


class _Reader:
    """Reads directories of an open file in one byte order."""

    def __init__(self, file: io.BufferedReader, order: str) -> None:
        self.file = file
        self.order = order
        self._left = {True: _MOST_BYTES, False: _MOST_NUMBERS}

    def chain(self, offset: int) -> Iterator[dict[int, TagValue]]:
        """Yield the directories of a chain; at least one."""
        for _ in range(_MOST_DIRECTORIES):
            tags, offset = self._directory(offset)
            yield tags
            if not offset:
                return

    def below(self, tags: Mapping[int, TagValue], pointer: int) -> Iterator[dict[int, TagValue]]:
        """Yield the directories that a tag points to."""
        offsets = tags.get(pointer, ())
        if isinstance(offsets, tuple):
            for offset in offsets[:_MOST_DIRECTORIES]:
                yield self._directory(int(offset))[0]

    def _directory(self, offset: int) -> tuple[dict[int, TagValue], int]:
        self.file.seek(offset)
        (count,) = struct.unpack(f"{self.order}H", self.file.read(2))
        if count > _MOST_TAGS:
            raise ValueError(f"{count} tags in a directory")
        entries = self.file.read(12 * count)
        if len(entries) < 12 * count:
            raise ValueError("a directory reaches beyond the end of the file")
        following = self.file.read(4)
        tags: dict[int, TagValue] = {}
        for entry in struct.iter_unpack(f"{self.order}HHI4s", entries):
            value = self._value(*entry[1:])
            if value is not None:
                tags.setdefault(entry[0], value)
        return tags, struct.unpack(f"{self.order}I", following)[0] if len(following) == 4 else 0

    def _value(self, kind: int, count: int, inline: bytes) -> TagValue | None:
        """Value of a tag; None if it is of an unknown kind, too large, or beyond the end of the file."""
        size = _SIZES.get(kind, 0) * count
        is_bytes = kind in (_TEXT, *_BYTES)
        if not 0 < size <= self._left[is_bytes]:
            return None
        self._left[is_bytes] -= size
        data = inline[:size]
        if size > 4:
            self.file.seek(struct.unpack(f"{self.order}I", inline)[0])
            data = self.file.read(size)
        if len(data) < size:
            return None
        if kind == _TEXT:
            return data.split(b"\0")[0].decode("utf-8", "replace").strip()
        if kind in _BYTES:
            return data
        numbers = struct.unpack(f"{self.order}{size // struct.calcsize(_FORMATS[kind])}{_FORMATS[kind]}", data)
        if kind not in _RATIONALS:
            return numbers
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        # 0 / 0 stands for a value that is not known.
        return tuple(Fraction(*pair) if pair[1] else math.nan for pair in pairs)
