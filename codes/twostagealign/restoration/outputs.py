"""Files that are written of a restored picture: rendered, linear, and DNG."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Burst, NoiseLevel
from twostagealign.data.camera.dng_file import DngLayout, write_dng
from twostagealign.data.exif import exif_of
from twostagealign.data.metadata import FrameMetadata
from twostagealign.data.picture_files import DEEP, SUFFIXES, PictureFormat, write_picture_file
from twostagealign.data.pictures import write_picture
from twostagealign.isp import Camera, Tone, automatic_stops, estimate_noise, render

Brightness = float | Literal["auto"]
"""Exposure correction, EV; "auto": what gives the picture a medium brightness."""

_BAND = 64  # rows that are computed at a time: in float32, a picture takes several times the memory of its file
_NOISE_SIDE = 1024  # of the part of a picture that its noise is estimated from, pixels


@dataclass(frozen=True)
class Rendering:
    """How linear camera RGB becomes a picture.

    Attributes:
        tone: tone curve; see `isp.render`.
        stops: exposure correction, EV.
        deep: whether pixels have 16 bits; otherwise 8.
    """

    tone: Tone = "curve"
    stops: float = 0.0
    deep: bool = False

    def pixels(self, linear: Tensor, camera: Camera) -> np.ndarray:
        """Render a picture or a part of it, in bands, which bounds the memory.

        Args:
            linear: linear camera RGB, (3, h, w), on the CPU, in any float dtype.
            camera: colour metadata, a batch of one.

        Returns:
            sRGB, (h, w, 3), uint8 or uint16.
        """
        camera = camera.to(device="cpu")
        dtype, white = (np.uint16, 65535) if self.deep else (np.uint8, 255)
        picture = np.empty((*linear.shape[1:], 3), dtype)
        for top in range(0, len(picture), _BAND):
            srgb = render(linear[:, top : top + _BAND].float().contiguous(), camera, self.stops, self.tone)
            picture[top : top + _BAND] = srgb.mul_(white).round_().permute(1, 2, 0).numpy()
        return picture


@dataclass(frozen=True)
class Outputs:
    """What is written of each restored picture.

    Attributes:
        format: format of the rendered picture.
        brightness: exposure correction of the rendered picture, beside that which its raw file asks for.
        tone: tone curve; None: that of the paper for simulated frames, and a gentler one for those of a camera.
        linear: also write linear camera RGB of 16 bits.
        dng: also write a DNG of this layout; None: none.
        keep_position: whether files keep the position where the picture was taken.
        strength: 1: the restored picture; 0: the demosaicked reference frame; between them, a blend in linear RGB.
    """

    format: PictureFormat = "png"
    brightness: Brightness = 0.0
    tone: Tone | None = None
    linear: bool = False
    dng: DngLayout | None = None
    keep_position: bool = False
    strength: float = 1.0

    @property
    def needs_linear(self) -> bool:
        """Whether linear camera RGB is written."""
        return self.linear or self.dng is not None

    def rendering(self, burst: Burst, metadata: FrameMetadata) -> Rendering:
        """Choose how the reference frame of a burst is rendered, before it is restored.

        Args:
            burst: the frames.
            metadata: metadata of the reference frame.
        """
        tone = self.tone or default_tone(burst)
        deep = self.format in DEEP
        stops = (
            automatic_brightness(burst) if self.brightness == "auto" else self.brightness + metadata.exposure.baseline
        )
        return Rendering(tone, stops, deep)


def default_tone(burst: Burst) -> Tone:
    """Return the tone curve that is used unless the user says otherwise."""
    return "paper" if burst.has_target else "curve"


def automatic_brightness(burst: Burst) -> float:
    """Find the exposure correction that gives the reference frame a medium brightness, EV; see `isp.automatic_stops`.

    The noisy frame is looked at: the brightness is known before the network runs.
    """
    red, green1, green2, blue = burst.reference.raw()
    return automatic_stops(torch.stack((red, (green1 + green2) / 2, blue)), burst.camera)


def to_levels(linear: np.ndarray) -> np.ndarray:
    """Convert linear RGB to 16 bits, in bands.

    Args:
        linear: linear RGB, (height, width, 3) float32.

    Returns:
        The picture, clipped to [0, 1], which becomes 0 to 65535: (height, width, 3) uint16.
    """
    levels = np.empty(linear.shape, np.uint16)
    for top in range(0, len(linear), _BAND):
        levels[top : top + _BAND] = (linear[top : top + _BAND].clip(0, 1) * 65535).round()
    return levels


def write_outputs(
    folder: Path,
    name: str,
    picture: np.ndarray,
    linear: np.ndarray | None,
    metadata: FrameMetadata,
    outputs: Outputs,
    settings: str = "",
) -> list[str]:
    """Write the files of a restored picture, each atomically.

    Args:
        folder: folder to write to.
        name: name of the files, without suffix.
        picture: rendered picture, upright, (height, width, 3), uint8 or uint16 as `outputs.format` asks for.
        linear: linear camera RGB, upright, (height, width, 3) uint16, if it is needed.
        metadata: metadata of the reference frame.
        outputs: which files.
        settings: how the picture was restored, for the history in a DNG.

    Returns:
        Names of the files.

    Raises:
        UserError: a file cannot be written.
    """
    files = [f"{name}{SUFFIXES[outputs.format]}"]
    exif = exif_of(metadata, keep_position=outputs.keep_position)
    write_picture_file(folder / files[0], picture, outputs.format, exif)
    if outputs.linear:
        assert linear is not None
        files.append(f"{name}_linear.png")
        write_picture(folder / files[-1], linear)
    if outputs.dng:
        assert linear is not None
        files.append(f"{name}.dng")
        preview = picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
        noise = remaining_noise(linear)
        write_dng(folder / files[-1], linear, metadata, preview, outputs.dng, noise, settings, outputs.keep_position)
    return files


def remaining_noise(linear: np.ndarray) -> NoiseLevel | None:
    """Estimate the noise of a restored picture from its middle.

    Args:
        linear: linear camera RGB, (height, width, 3) uint16.

    Returns:
        Noise level, named "restored"; None where the picture does not show it.
    """
    top, left = ((side - min(side, _NOISE_SIDE)) // 2 for side in linear.shape[:2])
    middle = linear[top : top + _NOISE_SIDE, left : left + _NOISE_SIDE].astype(np.float32) / 65535
    try:
        return NoiseLevel("restored", *estimate_noise(torch.from_numpy(middle).permute(2, 0, 1)))
    except ValueError:
        return None
