"""Raw bursts of a real camera: a folder of raw files, or of Bayer mosaics beside a camera.yml that describes them."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from twostagealign.data.camera.camera_file import read_camera_file
from twostagealign.data.camera.raw_files import describe_burst, read_samples, upright
from twostagealign.data.frame_files import CAMERA_FILE, is_raw, list_frames, warn_about_numbering
from twostagealign.data.pictures import (
    PICTURE_SUFFIXES,
    check_equal_sizes,
    read_pixels,
    stored_size,
    write_picture,
)
from twostagealign.isp import Camera, estimate_noise, extend_to_rggb, pack, red_position, unpack
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import write_atomically
from twostagealign.runtime.yaml_file import dump_yaml

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawFolder:
    """A raw burst, or a longer raw clip, whose frames are read when asked for.

    Attributes:
        paths: the mosaics, in natural order.
        height: of every mosaic in raw samples; odd sides, half cells, are allowed.
        width: of every mosaic in raw samples.
        cfa: colours of the upper left 2 x 2 cell, one of `isp.CFA_ORDERS`.
        black_level: of R, of G in red rows, of G in blue rows and of B, in stored units.
        white_level: in stored units.
        camera: colour metadata, a batch of one.
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.
        turned: how the mosaics must be turned to be upright; see `raw_files.upright`.
    """

    paths: list[Path]
    height: int
    width: int
    cfa: str
    black_level: tuple[float, float, float, float]
    white_level: float
    camera: Camera
    shot: float
    read: float
    turned: int

    def __len__(self) -> int:
        return len(self.paths)

    def planes(self, index: int) -> Tensor:
        """Frame `index` as it is stored.

        Returns:
            Raw planes R, G1, G2, B, (4, H, W), uint8 or uint16: the mosaic, extended by mirrored rows and columns to
            whole RGGB cells. `decode` makes values in [0, 1] of them.

        Raises:
            UserError: if the mosaic cannot be read.
        """
        path = self.paths[index]
        stored = read_samples(path) if is_raw(path) else read_pixels(path, cv2.IMREAD_UNCHANGED)
        if stored.ndim != 2:
            raise UserError(f"{path}: found {stored.shape[2]} channels, expected a Bayer mosaic of one channel")
        if self.white_level > np.iinfo(stored.dtype).max:
            raise UserError(
                f"{path}: found {stored.dtype} samples, expected 16-bit ones "
                f"as {CAMERA_FILE} says white_level {self.white_level:g}"
            )
        # Few operations of torch take uint16.
        mosaic = torch.from_numpy(stored.astype(np.float32))
        planes = pack(extend_to_rggb(mosaic[None], self.cfa))[0]
        return torch.from_numpy(planes.numpy().astype(stored.dtype))

    def decode(self, planes: Tensor) -> Tensor:
        """Any part of stored planes, (4, h, w), in float32: (stored - black) / (white - black), clamped to [0, 1]."""
        return self._scale(planes).clamp_(0, 1)

    def _scale(self, planes: Tensor) -> Tensor:
        black = torch.tensor(self.black_level, device=planes.device)[:, None, None]
        return (planes.float() - black) / (self.white_level - black)

    def _with_noise_of(self, planes: Tensor) -> "RawFolder":
        """The same, with the noise that the planes of the first frame show."""
        try:
            shot, read = estimate_noise(self._scale(planes))
        except ValueError as error:
            raise UserError(
                f"{self.paths[0]}: {error} to estimate its noise, expected `noise` in {CAMERA_FILE}"
            ) from error
        logger.warning("%s: estimated noise: {shot: %.3g, read: %.3g}", self.paths[0], shot, read)
        return replace(self, shot=shot, read=read)

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """A picture of the size of `planes`, without the mirrored rows and columns, and upright.

        Args:
            picture: (2H, 2W) or (2H, 2W, 3).

        Returns:
            The part that was photographed.
        """
        top, left = red_position(self.cfa)
        return upright(picture[top : top + self.height, left : left + self.width], self.turned)


def read_raw_folder(folder: str | Path) -> RawFolder:
    """Open a folder of raw files, or of Bayer mosaics and their camera.yml.

    Args:
        folder: contains raw files of one camera, of which the first one's levels, colours and noise are taken; or
            mosaics, PNG or TIFF of one channel, of 8 or 16 bits, all of one size, and camera.yml, as `camera_file`
            describes it. With raw files, camera.yml needs only what they do not say, or what it knows better. Noise
            that is given nowhere is estimated, with a warning.

    Returns:
        The burst; its first mosaic has been read, the others are read when asked for.

    Raises:
        UserError: if the folder, camera.yml or the mosaics are missing, if camera.yml is not as described, if the
            mosaics differ in size or are smaller than 2 x 2, or if the first one cannot be read or, where its noise
            has to be estimated, does not show it.
    """
    folder = Path(folder)
    paths = list_frames(folder)
    warn_about_numbering(paths)
    if is_raw(paths[0]):
        burst = describe_burst(paths)
        described = read_camera_file(folder / CAMERA_FILE, burst.camera, raw_file=paths[0])
        height, width, turned = burst.height, burst.width, burst.turned
    else:
        described = read_camera_file(folder / CAMERA_FILE)
        (height, width), turned = check_equal_sizes(paths, stored_size), 0
    if min(height, width) < 2:
        raise UserError(f"{paths[0]}: found {width}x{height} samples, expected at least 2x2")
    raw = RawFolder(
        paths=paths,
        height=height,
        width=width,
        cfa=described.cfa,
        black_level=described.black_level,
        white_level=described.white_level,
        camera=described.camera,
        shot=described.noise.shot if described.noise else math.nan,
        read=described.noise.read if described.noise else math.nan,
        turned=turned,
    )
    first = raw.planes(0)  # a folder of the wrong kind of pictures is refused here, not in the middle of the work
    return raw if described.noise else raw._with_noise_of(first)


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
    """Write a raw burst as 16-bit PNG mosaics and a camera.yml, as `read_raw_folder` reads it.

    Args:
        folder: is made if need be; must not hold pictures yet.
        mosaics: (N, height, width) in [0, 1].
        camera: colour metadata, a batch of one.
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.
        cfa: colours of the upper left 2 x 2 cell.
        black_level: of R, of G in red rows, of G in blue rows and of B, in stored units.
        white_level: in stored units, at most 65535.

    Raises:
        ValueError: if there is more than one camera.
        UserError: if the folder holds pictures already or cannot be written.
    """
    if len(camera) != 1:
        raise ValueError(f"camera: found a batch of {len(camera)}, expected one")
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror})") from error
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
