"""Raw files as cameras write them, DNG and others: the mosaic, and the metadata of the camera."""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from twostagealign.isp import CFA_ORDERS, extend_to_rggb, pack
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import check_regular

if TYPE_CHECKING:
    import rawpy

RAW_SUFFIXES = (".dng", ".3fr", ".arw", ".cr2", ".cr3", ".erf", ".mef", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2")
"""Of files that LibRaw reads."""

_NOISE_PROFILE = 51041  # the tag's number
_MOST_PAGES = 32  # of a DNG, and of each of these in turn; cameras write up to ten


@dataclass(frozen=True)
class RawFile:
    """Metadata of a raw file.

    Attributes:
        height: height of the stored picture, raw samples.
        width: width of the stored picture, raw samples.
        turned: how the stored picture must be turned to be upright; see `upright`.
        camera: description of the camera by the keys of a camera.yml. `white_balance`, `rgb2cam` and `noise` are
            missing where the file does not have them.
    """

    height: int
    width: int
    turned: int
    camera: dict[str, object]


@contextmanager
def _opened(path: Path) -> Iterator["rawpy.RawPy"]:
    """Open a file with LibRaw; errors in its content become UserErrors."""
    import rawpy  # late: only raw files need it

    check_regular(path, 2**32, "a raw file")
    try:
        with _mute, rawpy.imread(str(path)) as raw:
            yield raw
    except rawpy.LibRawError as error:
        message = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise UserError(f"{path}: not a raw file, or corrupt ({message})") from error


class _Mute:
    """Keeps LibRaw from printing what it also raises, which it does from C, past `sys.stderr`; rawpy has no other way.

    While any thread is inside, file descriptor 2 of the process leads nowhere. The last one to leave restores it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._stderr = -1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                sys.stderr.flush()
                self._stderr = os.dup(2)
                silence = os.open(os.devnull, os.O_WRONLY)
                os.dup2(silence, 2)
                os.close(silence)
            self._inside += 1

    def __exit__(self, *exception: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                os.dup2(self._stderr, 2)
                os.close(self._stderr)


_mute = _Mute()


def read_samples(path: Path) -> np.ndarray:
    """Decode the mosaic of a raw file, without masked borders: (height, width) uint16. UserError if unreadable."""
    with _opened(path) as raw:
        return raw.raw_image_visible.copy()


def describe_burst(paths: Sequence[Path]) -> RawFile:
    """Read the metadata of the raw files of one burst, and return that of the first.

    Raises:
        UserError: if a file cannot be read, does not hold a Bayer mosaic, or is not of the first one's kind.

    Source:
        Noise of a DNG: Adobe, "Digital Negative Specification", tag NoiseProfile: variance = S * signal + O.
    """
    first = _describe(paths[0])
    for path in paths[1:]:
        found, expected = map(_kind, (_describe(path), first))
        if found != expected:
            raise UserError(f"{path}: found {found}, expected {expected} as in {paths[0].name}")
    noise = _dng_noise(paths[0]) if paths[0].suffix.lower() == ".dng" else None
    return replace(first, camera=first.camera | {"noise": noise}) if noise else first


def _kind(file: RawFile) -> str:
    return f"{file.width}x{file.height} samples, {file.camera['cfa']}, up to {file.camera['white_level']}"


def _describe(path: Path) -> RawFile:
    """Read the metadata of a raw file, except its noise."""
    with _opened(path) as raw:
        pattern = raw.raw_pattern
        if pattern is None or pattern.shape != (2, 2):
            found = "none" if pattern is None else f"{pattern.shape[0]}x{pattern.shape[1]} samples"
            raise UserError(f"{path}: found a colour filter array of {found}, expected a Bayer mosaic")
        cell = raw.raw_colors_visible[:2, :2]
        cfa = "".join(chr(raw.color_desc[colour]) for colour in cell.flat)
        if cfa not in CFA_ORDERS:
            raise UserError(f"{path}: found the colours {cfa}, expected a Bayer mosaic: {', '.join(CFA_ORDERS)}")
        # Laid out as the samples are, and then brought in the order of the planes as they are.
        levels = torch.tensor(raw.black_level_per_channel, dtype=torch.float32)[torch.from_numpy(cell).long()]
        red, green, blue, _ = raw.camera_whitebalance
        camera: dict[str, object] = {
            "cfa": cfa,
            "black_level": pack(extend_to_rggb(levels[None], cfa))[0, :, 0, 0].tolist(),
            "white_level": raw.white_level,
        }
        if min(red, green, blue) > 0:
            camera["white_balance"] = {"red": red / green, "blue": blue / green}
        cam2rgb = raw.color_matrix[:, :3].astype(float)
        if np.linalg.matrix_rank(cam2rgb) == 3:
            camera["rgb2cam"] = np.linalg.inv(cam2rgb).tolist()
        return RawFile(raw.sizes.height, raw.sizes.width, raw.sizes.flip, camera)


def _dng_noise(path: Path) -> dict[str, float] | None:
    """The mean over all colours of the noise that a DNG says it has."""
    import tifffile

    try:
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it raises what it also logs
        with tifffile.TiffFile(path) as file:
            # In a damaged file, the chain of directories may lead back to itself.
            pages = [
                part
                for page in islice(file.pages, _MOST_PAGES)
                for part in (page, *islice(page.pages or (), _MOST_PAGES))
                if isinstance(part, tifffile.TiffPage)
            ]
            tags = [page.tags for page in pages if isinstance(page, tifffile.TiffPage)]
            profiles = [found[_NOISE_PROFILE].value for found in tags if _NOISE_PROFILE in found]
        if not profiles:
            return None
        shot, read = np.reshape(profiles[0], (-1, 2)).mean(axis=0)
        return {"shot": float(shot), "read": float(max(read, 0) ** 0.5)}
    except Exception as error:  # tifffile raises many kinds of exception on broken files
        raise UserError(f"{path}: damaged DNG ({' '.join(str(error).split())})") from error


def upright(picture: np.ndarray, turned: int) -> np.ndarray:
    """Turn a picture upright, as its raw file says.

    Args:
        picture: (H, W) or (H, W, 3).
        turned: LibRaw's sum of 1 (mirror columns), 2 (mirror rows) and, after these, 4 (exchange rows and columns).
    """
    picture = picture[:: -1 if turned & 2 else 1, :: -1 if turned & 1 else 1]
    return np.ascontiguousarray(picture.swapaxes(0, 1) if turned & 4 else picture)
