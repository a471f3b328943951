"""Picture files for people: sRGB with its ICC profile and EXIF, as PNG, TIFF or JPEG."""

import io
import struct
import zlib
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from PIL import Image, ImageCms

from twostagealign.data.exif import SOFTWARE, Exif
from twostagealign.runtime.files import write_atomically

PictureFormat = Literal["png", "png16", "tiff", "jpeg"]

SUFFIXES: dict[PictureFormat, str] = {"png": ".png", "png16": ".png", "tiff": ".tif", "jpeg": ".jpg"}
"""Suffix of the files of each format."""

DEEP: tuple[PictureFormat, ...] = ("png16", "tiff")
"""Formats of 16 bits; the others have 8."""

_JPEG_QUALITY = 95
_PNG_RGB, _PNG_SUB = 2, 1  # colour type; filter that subtracts the pixel to the left
_PNG_LEVEL = 1  # of compression: higher ones take several times as long, and hardly make noisy pictures smaller
_BAND = 64  # rows that are written at a time


def write_picture_file(path: Path, picture: np.ndarray, format: PictureFormat, exif: Exif | None = None) -> None:
    """Write an upright sRGB picture with its ICC profile, atomically.

    Args:
        path: file to write; an existing one is replaced.
        picture: sRGB, (height, width, 3), uint16 for the formats in `DEEP`, uint8 for the others.
        format: file format.
        exif: EXIF to write; None: only the name of this program, where the format has a place for it.

    Raises:
        UserError: the file cannot be written.
    """
    write = {"tiff": _write_tiff, "jpeg": _write_jpeg}.get(format, _write_png)
    write_atomically(path, lambda temporary: write(temporary, picture, exif))


@cache
def srgb_profile() -> bytes:
    """Return the ICC profile of sRGB, made by LittleCMS; always the same bytes."""
    content = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    content[24:36] = struct.pack(">6H", 1999, 10, 18, 0, 0, 0)  # the date when it was made: that of the standard
    return bytes(content)


def _write_png(path: Path, picture: np.ndarray, exif: Exif | None) -> None:
    """Write a PNG file in bands: libraries make several copies of the picture.

    Source: W3C, "Portable Network Graphics (PNG) Specification (Third Edition)", sections 5, 9 and 11.
    """
    height, width, channels = picture.shape
    pixel = channels * picture.itemsize  # bytes
    compressor = zlib.compressobj(_PNG_LEVEL)
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(_chunk(b"IHDR", struct.pack(">2I5B", width, height, 8 * picture.itemsize, _PNG_RGB, 0, 0, 0)))
        file.write(_chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(srgb_profile())))
        if exif:
            file.write(_chunk(b"eXIf", exif.encode((height, width))))
        for top in range(0, height, _BAND):
            band = picture[top : top + _BAND]
            rows = band.astype(band.dtype.newbyteorder(">")).view(np.uint8).reshape(len(band), pixel * width)
            lines = np.full((len(band), 1 + pixel * width), _PNG_SUB, np.uint8)
            lines[:, 1 : 1 + pixel] = rows[:, :pixel]
            np.subtract(rows[:, pixel:], rows[:, :-pixel], out=lines[:, 1 + pixel :])
            file.write(_chunk(b"IDAT", compressor.compress(lines.data)))
        file.write(_chunk(b"IDAT", compressor.flush()))
        file.write(_chunk(b"IEND", b""))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _write_jpeg(path: Path, picture: np.ndarray, exif: Exif | None) -> None:
    path.write_bytes(encode_jpeg(picture, exif))


def encode_jpeg(picture: np.ndarray, exif: Exif | None = None) -> bytes:
    """Encode a JPEG file in high quality: sRGB (height, width, 3) uint8, with its ICC profile."""
    buffer = io.BytesIO()
    block = b"Exif\0\0" + exif.encode(picture.shape[:2]) if exif else b""
    Image.fromarray(picture).save(
        buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0, icc_profile=srgb_profile(), exif=block
    )
    return buffer.getvalue()


def _write_tiff(path: Path, picture: np.ndarray, exif: Exif | None) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(
            picture,
            photometric="rgb",
            planarconfig="contig",
            metadata=None,
            software=SOFTWARE,
            iccprofile=srgb_profile(),
            resolution=(72, 72),
            resolutionunit="inch",
            extratags=exif.begin(file) if exif else (),
        )
