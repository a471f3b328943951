"""A restored picture."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from twostagealign.data.camera.dng_file import write_linear_dng
from twostagealign.data.pictures import encode_picture
from twostagealign.isp import Camera, tone_curve
from twostagealign.restoration.quality import Quality, develop
from twostagealign.runtime.files import write_atomically


@dataclass(frozen=True, eq=False)
class Result:
    """A restored picture. A notebook shows it.

    Attributes:
        srgb: sRGB with the tone curve, (height, width, 3) uint8, upright.
        linear: linear camera RGB before white balance, (height, width, 3) float32, upright; 1 is the white level. Not
            clamped: noise and ringing can leave values slightly outside [0, 1].
        shifts: displacement [y, x] of every patch's match in every frame, raw pixels, (rows, columns, N, 2) int64, in
            the orientation in which the sensor recorded the frames.
        window: index of each of the N frames in the burst's source, in the order of `shifts`.
        camera: colour metadata, a batch of one.
        quality: PSNR and SSIM by the test protocol, where the truth is known; otherwise None. They are computed without
            the tone curve, as in the paper.
    """

    srgb: np.ndarray
    linear: np.ndarray
    shifts: np.ndarray
    window: tuple[int, ...]
    camera: Camera
    quality: Quality | None

    @property
    def reference(self) -> int:
        """Index of the restored frame in the burst's source."""
        return self.window[len(self.window) // 2]

    def save(self, path: str | Path) -> None:
        """Write the picture in the format that the file's suffix names.

        - `.png`: sRGB with the tone curve, 8 bits, the pixels of `srgb`.
        - `.tif`, `.tiff`: sRGB with the tone curve, 16 bits.
        - `.dng`: linear DNG, camera RGB, 16 bits, with white balance and colour matrix, for a raw converter.

        Args:
            path: file to write; an existing one is replaced.

        Raises:
            ValueError: the name ends in none of these suffixes.
            UserError: the file cannot be written.
        """
        path = Path(path)
        writers: dict[str, Callable[[Path], object]] = {
            ".png": self._write_png,
            ".tif": self._write_tiff,
            ".tiff": self._write_tiff,
            ".dng": self._write_dng,
        }
        write = writers.get(path.suffix.lower())
        if write is None:
            raise ValueError(f"path: found {str(path)!r}, expected a name that ends in {', '.join(writers)}")
        write(path)

    def _repr_png_(self) -> bytes:
        return encode_picture(self.srgb)

    def _write_png(self, path: Path) -> None:
        write_atomically(path, lambda temporary: temporary.write_bytes(encode_picture(self.srgb)))

    def _write_tiff(self, path: Path) -> None:
        linear = torch.from_numpy(self.linear).permute(2, 0, 1)
        deep = tone_curve(develop(linear, self.camera)).mul(65535).round().permute(1, 2, 0).numpy().astype(np.uint16)
        write_atomically(path, lambda temporary: temporary.write_bytes(encode_picture(deep, ".tif")))

    def _write_dng(self, path: Path) -> None:
        write_linear_dng(path, self.linear, self.camera)
