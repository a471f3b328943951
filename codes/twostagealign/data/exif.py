"""EXIF of results: camera, lens, exposure and date of the reference frame, in any picture file."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import tifffile

import twostagealign
from twostagealign.data.metadata import FrameMetadata, TagValue
from twostagealign.data.tiff_entries import Entry, TiffType, encode_directory, make_entry

SOFTWARE = f"TwoStageAlign {twostagealign.__version__}"
"""Name of this program in the files that it writes."""

_ORIENTATION, _SOFTWARE = 0x0112, 0x0131
_PHOTO, _GPS = 0x8769, 0x8825  # say where the EXIF and the GPS directory are
_NAMES = {_PHOTO: "ExifTag", _GPS: "GPSTag"}  # tifffile takes these tags by name only
_FIRST_OF_PHOTO = 0x829A  # ExposureTime; tags with smaller numbers, such as the maker, are in the main directory
_TYPES = {
    0x0000: TiffType.BYTE,  # GPSVersionID
    0x0005: TiffType.BYTE,  # GPSAltitudeRef
    0x9201: TiffType.SRATIONAL,  # ShutterSpeedValue
    0x9203: TiffType.SRATIONAL,  # BrightnessValue
    0x9204: TiffType.SRATIONAL,  # ExposureBiasValue
    _PHOTO: TiffType.LONG,
    _GPS: TiffType.LONG,
}
_ALWAYS: dict[int, TagValue] = {
    0x9000: b"0232",  # ExifVersion
    0xA000: b"0100",  # FlashpixVersion
}
_COMPONENTS, _COLOUR_SPACE, _WIDTH, _HEIGHT = 0x9101, 0xA001, 0xA002, 0xA003
_YCBCR, _SRGB = b"\1\2\3\0", (1,)
_RESOLUTION: dict[int, TagValue] = {
    0x011A: (Fraction(72),),
    0x011B: (Fraction(72),),
    0x0128: (2,),  # per inch
    0x0213: (1,),  # YCbCrPositioning: centred
}


PageTag = Entry | tuple[str, int, int, tuple[int, ...], bool]
"""An item of tifffile's `extratags`, by number or by name."""


@dataclass(frozen=True)
class Exif:
    """EXIF of a result, which is upright.

    Attributes:
        main: tags of the main directory, by number.
        photo: tags of the EXIF directory, by number.
        gps: tags of the GPS directory, by number; none by default.
    """

    main: Mapping[int, TagValue]
    photo: Mapping[int, TagValue]
    gps: Mapping[int, TagValue] = field(default_factory=dict)

    def encode(self, size: tuple[int, int]) -> bytes:
        """Encode for a PNG or JPEG file: a TIFF header and the directories.

        Args:
            size: height and width of the picture.
        """
        height, width = size
        picture: dict[int, TagValue] = {_COMPONENTS: _YCBCR, _WIDTH: (width,), _HEIGHT: (height,)}
        others = {_PHOTO: dict(self.photo) | picture} | ({_GPS: self.gps} if self.gps else {})
        start = 8  # after the header
        main = _RESOLUTION | dict(self.main) | dict.fromkeys(others, (0,))
        end = start + len(encode_directory(_entries(main), start))
        parts = []
        for number, tags in others.items():
            main[number] = (end,)
            parts.append(encode_directory(_entries(tags), end))
            end += len(parts[-1])
        return b"".join((b"II*\0", struct.pack("<I", start), encode_directory(_entries(main), start), *parts))

    def begin(self, file: tifffile.TiffWriter) -> list[PageTag]:
        """Write the EXIF and GPS directories to a new TIFF file, and return `extratags` for its first page."""
        # tifffile writes the directory of the first page behind them. The name of the software it writes itself.
        entries: list[PageTag] = [
            *_entries({number: value for number, value in self.main.items() if number != _SOFTWARE})
        ]
        for number, tags in self._others():
            start = file.filehandle.tell()
            content = encode_directory(_entries(tags), start)
            file.filehandle.write(content + b"\0" * (len(content) % 2))
            entries.append((_NAMES[number], TiffType.LONG, 1, (start,), True))
        return entries

    def _others(self) -> list[tuple[int, Mapping[int, TagValue]]]:
        return [(number, tags) for number, tags in ((_PHOTO, self.photo), (_GPS, self.gps)) if tags]


def exif_of(metadata: FrameMetadata, srgb: bool = True, keep_position: bool = False) -> Exif:
    """Collect the EXIF of a picture that was restored from a frame.

    Args:
        metadata: metadata of the reference frame.
        srgb: whether the colours of the picture are sRGB, not the camera's.
        keep_position: whether to keep the position where it was taken.
    """
    main = {number: value for number, value in metadata.exif.items() if number < _FIRST_OF_PHOTO}
    photo = {number: value for number, value in metadata.exif.items() if number >= _FIRST_OF_PHOTO}
    return Exif(
        main=main | {_ORIENTATION: (1,), _SOFTWARE: SOFTWARE},
        photo=photo | _ALWAYS | ({_COLOUR_SPACE: _SRGB} if srgb else {}),
        gps=metadata.gps if keep_position else {},
    )


def _entries(tags: Mapping[int, TagValue]) -> list[Entry]:
    """Tags as files store them. A raw file may hold anything: values that do not fit are left out."""
    entries = [make_entry(number, value, _TYPES.get(number)) for number, value in sorted(tags.items())]
    return [entry for entry in entries if entry]
