"""Ordinary pictures: strict reading, atomic writing, and the photographs that come with scikit-image."""

import importlib.resources
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from cachetools import LRUCache
from PIL import Image, ImageFile, ImageOps

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import open_regular, read_regular, write_atomically
from twostagealign.runtime.silence import no_warnings, silence

_ORIENTATION, _FIRST_TURNED = 0x0112, 5  # EXIF tag, and the first of its values that exchange height and width

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
"""Pillow's names of the formats that are read. For some others, such as PostScript, Pillow starts programs."""
_FILE_BYTES = 2**30
"""Largest size of a picture file."""

cv2.utils.logging.setLogLevel(
    cv2.utils.logging.LOG_LEVEL_SILENT
)  # OpenCV prints warnings about files; what matters is raised here

_BUNDLED_FILES = {
    "astronaut": "astronaut.png",
    "chelsea": "chelsea.png",
    "coffee": "coffee.png",
    "hubble_deep_field": "hubble_deep_field.jpg",
    "ihc": "ihc.png",
    "motorcycle_left": "motorcycle_left.png",
    "rocket": "rocket.jpg",
}
BUNDLED = tuple(_BUNDLED_FILES)
"""Names of the colour photographs inside scikit-image's wheel, which `bundled_picture` reads."""


@contextmanager
def _opened(path: str | Path, file: BinaryIO) -> Iterator[ImageFile.ImageFile]:
    """Open a file with Pillow, without decoding it; errors in its content become UserErrors."""
    try:
        with no_warnings, Image.open(file, formats=_FORMATS) as picture:
            yield picture
    except UserError:
        raise
    except Image.UnidentifiedImageError as error:
        if not file.seek(0, io.SEEK_END):
            raise UserError(f"{path}: the file is empty, expected a picture file") from error
        raise UserError(f"{path}: not a picture (PNG, JPEG, BMP, TIFF or WebP), or truncated") from error
    except Exception as error:  # Pillow's decoders raise many kinds of exception on broken files
        raise UserError(f"{path}: truncated or damaged picture ({' '.join(str(error).split())})") from error


def read_pixels(path: str | Path) -> np.ndarray:
    """Read a picture as it is stored: not turned, samples of 8 or 16 bits. Incomplete files are refused.

    Returns:
        uint8 or uint16: grey (H, W), or RGB (H, W, 3) of anything else; alpha is dropped.

    Raises:
        UserError: the file is missing, unreadable, empty, truncated, not a picture, or not of 8 or 16 bits.
    """
    return _decode(path, upright=False)


def read_picture(path: str | Path) -> np.ndarray:
    """Read a picture as 8-bit RGB, (height, width, 3) uint8; UserError if it is missing or damaged.

    Grey pictures are expanded, alpha is dropped, 16 bits are scaled down to 8, EXIF orientation is applied.
    """
    pixels = _decode(path, upright=True)
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels


def _decode(path: str | Path, upright: bool) -> np.ndarray:
    """Decode a picture: grey or RGB, uint8 or uint16, with EXIF orientation applied if it is to be upright."""
    content = read_regular(Path(path), _FILE_BYTES, "a picture file")
    with _opened(path, io.BytesIO(content)) as picture:
        if picture.format == "PNG":
            picture.verify()  # checksums and the end of the file, which decoding does not need
    with _opened(path, io.BytesIO(content)) as picture:
        layout = str([tile.args for tile in picture.tile])
        with silence if picture.format == "TIFF" else nullcontext():
            picture.load()
        if picture.mode == "F" or ";32" in layout or ";16S" in layout:
            raise UserError(f"{path}: found float pixels or more than 16 bits, expected 8 or 16 bits per channel")
        if ";16" in layout and not picture.mode.startswith("I"):
            return _decode_deep(path, content, upright)
        if upright:
            ImageOps.exif_transpose(picture, in_place=True)
        keeps_mode = picture.mode in ("L", "RGB") or picture.mode.startswith("I")
        pixels = np.array(picture if keeps_mode else picture.convert("L" if picture.mode == "1" else "RGB"))
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.uint16, copy=False)


def _decode_deep(path: str | Path, content: bytes, upright: bool) -> np.ndarray:
    """Decode a picture with colours of 16 bits, of which Pillow keeps 8, as RGB."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if pixels is None:
        raise UserError(f"{path}: truncated or damaged picture, or a format that OpenCV cannot read")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def stored_size(path: str | Path) -> tuple[int, int]:
    """Height and width in a picture's header, before any EXIF orientation; UserError if it is not a picture."""
    with open_regular(Path(path), _FILE_BYTES, "a picture file") as file, _opened(path, file) as picture:
        return picture.height, picture.width


def upright_size(path: str | Path) -> tuple[int, int]:
    """Height and width of a picture as `read_picture` returns it, from its header; UserError if it is not a picture."""
    with open_regular(Path(path), _FILE_BYTES, "a picture file") as file, _opened(path, file) as picture:
        exif = Image.Image.getexif(picture)  # that of the PNG class decodes the whole picture
        # Pillow itself turns TIFFs.
        turned = picture.format != "TIFF" and exif.get(_ORIENTATION, 1) >= _FIRST_TURNED
        return (picture.width, picture.height) if turned else (picture.height, picture.width)


def check_equal_sizes(
    paths: Sequence[Path], size_of: Callable[[Path], tuple[int, int]] = upright_size
) -> tuple[int, int]:
    """Check that pictures are of one size, and return its height and width.

    Args:
        paths: the picture files.
        size_of: `upright_size`, or `stored_size` for mosaics, which are read as they are stored.

    Raises:
        UserError: a file is not a picture, or its size differs from the first one's.
    """
    size = size_of(paths[0])
    for path in paths[1:]:
        found = size_of(path)
        if found != size:
            raise UserError(
                f"{path}: found {found[1]}x{found[0]} pixels, expected {size[1]}x{size[0]} as in {paths[0].name}"
            )
    return size


def bundled_picture(name: str) -> np.ndarray:
    """Read a photograph that comes with scikit-image, one of `BUNDLED`: RGB, (height, width, 3) uint8."""
    return read_picture(bundled_path(name))


def bundled_path(name: str) -> Path:
    """Path of a photograph that comes with scikit-image, one of `BUNDLED`; UserError for another name."""
    if name not in _BUNDLED_FILES:
        raise UserError(f"bundled picture: found {name!r}, expected one of {', '.join(BUNDLED)}")
    return Path(str(importlib.resources.files("skimage") / "data" / _BUNDLED_FILES[name]))


def write_picture(path: str | Path, picture: np.ndarray) -> None:
    """Write a PNG file atomically.

    Args:
        path: file to write, `.png`. An existing file is replaced.
        picture: RGB (height, width, 3) or grey (height, width), uint8 or uint16.

    Raises:
        ValueError: the array is not such a picture.
        UserError: the suffix is not `.png` or the file cannot be written.
    """
    if Path(path).suffix.lower() != ".png":
        raise UserError(f"{path}: pictures are written as PNG, expected a name that ends in .png")
    encoded = encode_picture(picture)
    write_atomically(Path(path), lambda temporary: temporary.write_bytes(encoded))


def encode_picture(picture: np.ndarray, suffix: str = ".png") -> bytes:
    """Encode a picture without loss.

    Args:
        picture: RGB (height, width, 3) or grey (height, width), uint8 or uint16.
        suffix: ".png" or ".tif".

    Returns:
        The content of such a file.

    Raises:
        ValueError: the array is not such a picture.
    """
    if picture.dtype not in (np.uint8, np.uint16) or not (
        picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)
    ):
        raise ValueError(
            f"picture: found {picture.dtype} of shape {picture.shape}, expected uint8 or uint16 (H, W, 3) or (H, W)"
        )
    if picture.ndim == 3:
        picture = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2BGR)
    return cv2.imencode(suffix, picture)[1].tobytes()


class PictureCache:
    """Reads pictures and keeps the latest ones decoded, up to a number of bytes.

    Args:
        budget: how many bytes of decoded pictures to keep at most. A picture that is larger is not kept.
        read: function that reads a picture.
    """

    def __init__(self, budget: int, read: Callable[[Path], np.ndarray] = read_picture) -> None:
        self._read = read
        self._pictures: LRUCache[Path, np.ndarray] = LRUCache(budget, getsizeof=attrgetter("nbytes"))

    def read(self, path: Path) -> np.ndarray:
        """Read a picture; the array is shared and read-only."""
        picture = self._pictures.get(path)
        if picture is None:
            picture = self._read(path)
            picture.flags.writeable = False
            if picture.nbytes <= self._pictures.maxsize:
                self._pictures[path] = picture
        return picture
