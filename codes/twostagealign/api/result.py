"""A restored picture."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import get_args

import numpy as np
import torch

from twostagealign.data.camera.dng_file import DngLayout, write_dng
from twostagealign.data.exif import exif_of
from twostagealign.data.metadata import FrameMetadata
from twostagealign.data.picture_files import PictureFormat, write_picture_file
from twostagealign.data.pictures import encode_picture
from twostagealign.isp import Camera, Tone
from twostagealign.restoration.outputs import Brightness, Rendering, remaining_noise, to_levels
from twostagealign.restoration.quality import Quality
from twostagealign.runtime.memory import give_back_memory

_FORMATS: dict[str, dict[int, PictureFormat]] = {
    ".png": {8: "png", 16: "png16"},
    ".tif": {16: "tiff"},
    ".tiff": {16: "tiff"},
    ".jpg": {8: "jpeg"},
    ".jpeg": {8: "jpeg"},
}
_DNG = ".dng"


@dataclass(frozen=True, eq=False)
class Result:
    """A restored picture. A notebook shows it.

    Attributes:
        linear: linear camera RGB before white balance, (height, width, 3) float32, upright; 1 is the white level. Not
            clamped: noise and ringing can leave values slightly outside [0, 1].
        shifts: displacement [y, x] of every patch's match in every frame, raw pixels, (rows, columns, N, 2) int64, in
            the orientation in which the sensor recorded the frames.
        window: index of each of the N frames in the burst's source, in the order of `shifts`.
        metadata: what is known about the restored frame: colours, noise, exposure, EXIF.
        default_tone: usual tone curve: that of the paper for simulated bursts, a gentler one for those of a camera.
        automatic_brightness: exposure correction that gives the picture a medium brightness, EV.
        settings: how the picture was restored, in words.
        quality: PSNR and SSIM by the test protocol, where the truth is known; otherwise None. They are computed without
            the tone curve, as in the paper.
    """

    linear: np.ndarray
    shifts: np.ndarray
    window: tuple[int, ...]
    metadata: FrameMetadata
    default_tone: Tone
    automatic_brightness: float
    settings: str
    quality: Quality | None

    @cached_property
    def srgb(self) -> np.ndarray:
        """Picture as sRGB with the usual tone curve, (height, width, 3) uint8, upright."""
        return self.render()

    @property
    def reference(self) -> int:
        """Index of the restored frame in the burst's source."""
        return self.window[len(self.window) // 2]

    @property
    def camera(self) -> Camera:
        """Colour metadata, a batch of one."""
        return self.metadata.camera

    def render(self, brightness: Brightness = 0.0, tone: Tone | None = None, bits: int = 8) -> np.ndarray:
        """Render the picture as sRGB.

        Args:
            brightness: exposure correction, EV, from -10 to 10, which is added to the one that the raw file asks for;
                "auto": `automatic_brightness` alone.
            tone: "none" for plain sRGB, "curve" for a gentle tone curve, "paper" for the steep one of the paper's
                pictures; None: `default_tone`.
            bits: 8 or 16.

        Returns:
            Picture, (height, width, 3), uint8 or uint16.

        Raises:
            ValueError: an argument is not as above.
        """
        if bits not in (8, 16):
            raise ValueError(f"bits: found {bits!r}, expected 8 or 16")
        if tone is not None and tone not in get_args(Tone):
            raise ValueError(f"tone: found {tone!r}, expected one of {', '.join(get_args(Tone))}")
        linear = torch.from_numpy(self.linear).permute(2, 0, 1)
        rendering = Rendering(tone or self.default_tone, self._stops(brightness), deep=bits == 16)
        return rendering.pixels(linear, self.camera)

    def blended(self, demosaicked: np.ndarray, strength: float) -> "Result":
        """Blend the picture with the demosaicked reference frame in linear RGB, which leaves some of the noise.

        Args:
            demosaicked: the reference frame, from `RawBurst.demosaicked`.
            strength: 1: this picture; 0: the reference frame.

        Returns:
            The blend, without quality.

        Raises:
            ValueError: an argument is out of range.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"strength: found {strength!r}, expected 0 to 1")
        if demosaicked.shape != self.linear.shape:
            found, expected = demosaicked.shape, self.linear.shape
            raise ValueError(f"demosaicked: found shape {found}, expected {expected}, that of this picture")
        blend = np.empty_like(self.linear)
        for row, before, after in zip(
            blend, demosaicked, self.linear, strict=True
        ):  # a row at a time: in little memory
            row[:] = before + np.float32(strength) * (after - before)
        return replace(self, linear=blend, quality=None)

    def save(
        self,
        path: str | Path,
        brightness: Brightness = 0.0,
        tone: Tone | None = None,
        bits: int | None = None,
        dng: DngLayout = "linear",
        keep_position: bool = False,
    ) -> None:
        """Write the picture in the format that the file's suffix names, with EXIF of the restored frame.

        - `.png`: sRGB, 8 or 16 bits; by default the pixels of `srgb`.
        - `.tif`, `.tiff`: sRGB, 16 bits.
        - `.jpg`, `.jpeg`: sRGB, 8 bits.
        - `.dng`: camera RGB, 16 bits, with white balance and colour matrix, for a raw converter.

        Args:
            path: file to write; an existing one is replaced.
            brightness: exposure correction of the sRGB picture, EV, or "auto"; see `render`.
            tone: tone curve of the sRGB picture; see `render`.
            bits: bits of each sample; None: 8 where the format has them, otherwise 16.
            dng: what a DNG holds: "linear", all colours of every pixel, or "cfa", an RGGB mosaic of them.
            keep_position: whether the file keeps the position where the picture was taken.

        Raises:
            ValueError: the name ends in none of these suffixes, or an argument is not as above.
            UserError: the file cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix != _DNG and suffix not in _FORMATS:
            raise ValueError(f"path: found {str(path)!r}, expected a name that ends in {', '.join([*_FORMATS, _DNG])}")
        depths = _FORMATS.get(suffix, {16: "png16"})
        if bits is None:
            bits = min(depths)
        if bits not in depths:
            raise ValueError(f"bits: found {bits!r}, expected {' or '.join(map(str, depths))} for {suffix}")
        if dng not in get_args(DngLayout):
            raise ValueError(f"dng: found {dng!r}, expected one of {', '.join(get_args(DngLayout))}")
        if suffix == _DNG:
            self._write_dng(path, self.render(brightness, tone), dng, keep_position)
        else:
            picture = self.render(brightness, tone, bits)
            write_picture_file(path, picture, depths[bits], exif_of(self.metadata, keep_position=keep_position))
        give_back_memory()  # intermediate results of rendering

    def _repr_png_(self) -> bytes:
        return encode_picture(self.srgb)

    def _write_dng(self, path: Path, preview: np.ndarray, layout: DngLayout, keep_position: bool) -> None:
        linear = to_levels(self.linear)
        noise = remaining_noise(linear)
        write_dng(path, linear, self.metadata, preview, layout, noise, self.settings, keep_position)

    def _stops(self, brightness: object) -> float:
        """Exposure correction of `render`, EV."""
        if brightness == "auto":
            return self.automatic_brightness
        if not isinstance(brightness, int | float) or not -10 <= brightness <= 10:
            raise ValueError(f"brightness: found {brightness!r}, expected -10 to 10 EV, or 'auto'")
        return brightness + self.metadata.exposure.baseline
