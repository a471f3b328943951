"""Raw bursts of a real camera: a folder of raw files, or of Bayer mosaics described by a camera.yml."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Levels, NoiseLevel, RawFrame
from twostagealign.data.camera.camera_file import read_camera_file
from twostagealign.data.camera.raw_files import describe_burst, read_samples, upright
from twostagealign.data.frame_files import CAMERA_FILE, is_raw, list_frames, unique_names, warn_about_numbering
from twostagealign.data.pictures import (
    PICTURE_SUFFIXES,
    check_equal_sizes,
    read_pixels,
    stored_size,
    write_picture,
)
from twostagealign.data.sequence import FrameSequence
from twostagealign.isp import Camera, estimate_noise, extend_to_rggb, pack, red_position, unpack
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically
from twostagealign.runtime.yaml_file import dump_yaml

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawFolder(FrameSequence):
    """A `FrameSequence` of raw files or Bayer mosaics, extended by mirrored rows and columns to whole RGGB cells.

    Attributes:
        paths: the files, in natural order.
        height: height of every picture in raw samples; odd sides, half cells, are allowed.
        width: width of every picture in raw samples.
        cfa: colours of the upper left 2 x 2 cell, one of `isp.CFA_ORDERS`.
        levels: black and white level of the samples.
        turned: how pictures must be turned to be upright; see `raw_files.upright`.
    """

    paths: Sequence[Path]
    height: int
    width: int
    cfa: str
    levels: Levels
    turned: int

    def read(self, index: int) -> RawFrame:
        """Read a frame. Its planes are uint8 or uint16."""
        return RawFrame(_read_planes(self.paths[index], self.cfa, self.levels), self.noise, self.levels)

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """Cut the mirrored rows and columns off a restored picture and turn it upright."""
        top, left = red_position(self.cfa)
        return upright(picture[top : top + self.height, left : left + self.width], self.turned)


def open_raw_folder(path: str | Path) -> RawFolder:
    """Open a folder of raw files, or of Bayer mosaics and their camera.yml, or a single such file.

    Args:
        path: folder that contains raw files of one camera, of which the first one's levels, colours and noise are
            taken; or mosaics, PNG or TIFF of one channel, of 8 or 16 bits, all of one size, and camera.yml, as
            `camera_file` describes it. With raw files, camera.yml needs only what they do not say, or what it knows
            better. Noise that is given nowhere is estimated, with a warning. Or one such file.

    Raises:
        UserError: the folder, camera.yml or the frames are missing, camera.yml is not as described, frames differ in
            size, are smaller than 2 x 2 or two have one name, or the first one cannot be read or, where its noise has
            to be estimated, does not show it.
    """
    path = Path(path)
    return open_raw_files([path]) if path.is_file() else _open(path.resolve().name, path, list_frames(path))


def open_raw_files(paths: Sequence[Path]) -> RawFolder:
    """Open raw files, or Bayer mosaics, one by one.

    Args:
        paths: the files, in order, at least one; as in `open_raw_folder`. camera.yml is in the folder of the first.

    Returns:
        The frames, named after the first file.

    Raises:
        UserError: as in `open_raw_folder`.
    """
    return _open(paths[0].stem, paths[0].parent, paths)


def _open(name: str, folder: Path, paths: Sequence[Path]) -> RawFolder:
    """Open raw files, or mosaics, whose camera.yml is in `folder`."""
    warn_about_numbering(paths)
    if is_raw(paths[0]):
        burst = describe_burst(paths)
        described = read_camera_file(folder / CAMERA_FILE, burst.camera, raw_file=paths[0])
        height, width, turned = burst.height, burst.width, burst.turned
    else:
        if not os.path.lexists(folder / CAMERA_FILE):
            raise UserError(
                f"{folder}: pictures without {CAMERA_FILE}; describe the camera of Bayer mosaics there, "
                "or degrade ordinary pictures with --simulate"
            )
        described = read_camera_file(folder / CAMERA_FILE)
        (height, width), turned = check_equal_sizes(paths, stored_size), 0
    if min(height, width) < 2:
        raise UserError(f"{paths[0]}: found {width}x{height} samples, expected at least 2x2")
    levels = Levels(described.black_level, described.white_level)
    # A folder of the wrong kind of pictures is refused here, not in the middle of the work.
    first = _read_planes(paths[0], described.cfa, levels)
    frames = unique_names(paths)
    if described.noise:
        noise = NoiseLevel("camera", described.noise.shot, described.noise.read)
    else:
        noise = _estimated_noise(paths[0], levels.scale(first))
    top, left = red_position(described.cfa)
    size = ((top + height + 1) // 2, (left + width + 1) // 2)
    return RawFolder(name, frames, size, described.camera, noise, paths, height, width, described.cfa, levels, turned)


def _read_planes(path: Path, cfa: str, levels: Levels) -> Tensor:
    """Raw planes of a mosaic as they are stored, (4, H, W), extended to whole RGGB cells."""
    stored = read_samples(path) if is_raw(path) else read_pixels(path)
    if stored.ndim != 2:
        raise UserError(f"{path}: found {stored.shape[2]} channels, expected a Bayer mosaic of one channel")
    if levels.white > np.iinfo(stored.dtype).max:
        raise UserError(
            f"{path}: found {stored.dtype} samples, expected 16-bit ones "
            f"as {CAMERA_FILE} says white_level {levels.white:g}"
        )
    # Few operations of torch take uint16.
    mosaic = torch.from_numpy(stored.astype(np.float32))
    planes = pack(extend_to_rggb(mosaic[None], cfa))[0]
    return torch.from_numpy(planes.numpy().astype(stored.dtype))


def _estimated_noise(path: Path, planes: Tensor) -> NoiseLevel:
    """Noise that scaled planes (4, H, W) show."""
    try:
        shot, read = estimate_noise(planes)
    except ValueError as error:
        raise UserError(f"{path}: {error} to estimate its noise, expected `noise` in {CAMERA_FILE}") from error
    logger.warning("%s: estimated noise: {shot: %.3g, read: %.3g}", path, shot, read)
    return NoiseLevel("camera", shot, read)


def write_raw_folder(
    folder: str | Path,
    mosaics: Tensor,
    camera: Camera,
    shot: float,
    read: float,
    cfa: str = "RGGB",
    black_level: Sequence[float] = (0, 0, 0, 0),
    white_level: int = 65535,
) -> None:
    """Write a raw burst as 16-bit PNG mosaics and a camera.yml, as `open_raw_folder` reads it.

    Args:
        folder: folder of the burst; created if missing; must not contain pictures.
        mosaics: (N, height, width) in [0, 1].
        camera: colour metadata, a batch of one.
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.
        cfa: colours of the upper left 2 x 2 cell.
        black_level: of R, of G in red rows, of G in blue rows and of B, in stored units.
        white_level: in stored units, at most 65535.

    Raises:
        ValueError: there is more than one camera.
        UserError: the folder contains pictures or cannot be written.
    """
    if len(camera) != 1:
        raise ValueError(f"camera: found a batch of {len(camera)}, expected one")
    folder = Path(folder)
    output_folder(folder)
    if any(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir()):
        raise UserError(f"{folder}: found pictures in it, expected an empty folder to write a raw burst to")
    black = _tile(black_level, cfa, *mosaics.shape[-2:])
    for number, mosaic in enumerate(mosaics.cpu()):
        stored = (black + mosaic * (white_level - black)).round().clamp(0, 65535)
        write_picture(folder / f"{number:04d}.png", stored.numpy().astype(np.uint16))
    described = {
        "cfa": cfa,
        "black_level": list(black_level),
        "white_level": white_level,
        "white_balance": {"red": camera.red_gain.item(), "blue": camera.blue_gain.item()},
        "rgb2cam": camera.rgb2cam[0].tolist(),
        "noise": {"shot": shot, "read": read},
        "rgb_gain": camera.rgb_gain.item(),
    }
    text = dump_yaml(described)
    write_atomically(folder / CAMERA_FILE, lambda temporary: temporary.write_text(text))


def _tile(levels: Sequence[float], cfa: str, height: int, width: int) -> Tensor:
    """Per-plane levels, laid out as the mosaic of a CFA order, (height, width)."""
    cell = unpack(torch.tensor(levels, dtype=torch.float32)[:, None, None], cfa)
    return cell.repeat(height // 2 + 1, width // 2 + 1)[:height, :width]
