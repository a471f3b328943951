"""Bursts: the frames that one picture is restored from, and batches of crops for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import torch
from torch import Tensor

from twostagealign.data.shading import Shading
from twostagealign.isp import Camera, noise_map, unprocess
from twostagealign.merging import UNKNOWN

BAND = 256
"""RGB rows that are unprocessed at a time: the intermediate results of a UHD frame take half a gigabyte."""


@dataclass(frozen=True)
class NoiseLevel:
    """Shot and read noise.

    Attributes:
        name: name in tables and file names.
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.
    """

    name: str
    shot: float
    read: float


@dataclass(frozen=True)
class Levels:
    """Black and white level of a sensor, in stored units.

    Attributes:
        black: black level of R, G in red rows, G in blue rows and B.
        white: white level.
    """

    black: tuple[float, float, float, float]
    white: float

    def scale(self, stored: Tensor) -> Tensor:
        """Convert stored planes (4, h, w) to float32: 0 at the black level, 1 at the white level, not clamped."""
        black = _on_device(self.black, stored.device)
        return stored.float().sub_(black).div_(self.white - black)  # stored planes are integers: this is a copy


@lru_cache(maxsize=32)
def _on_device(black: tuple[float, ...], device: torch.device) -> Tensor:
    """Black levels, (4, 1, 1). Copied to a device once: tiles are decoded one by one."""
    return torch.tensor(black, device=device)[:, None, None]


@dataclass(frozen=True)
class RawFrame:
    """One raw frame, in as little memory as it was stored in.

    Attributes:
        planes: raw planes R, G1, G2, B, (4, H, W): float32 in [0, 1], or uint8 or uint16 in the units of `levels`.
        noise: noise level, or the standard deviation of every sample, the shape of `planes`.
        levels: black and white level of integer planes; None for planes in [0, 1].
        clean: sRGB picture that the frame was made of, (3, 2H, 2W) uint8; None for a frame of a real camera.
        gain: factor that brings the frame to the exposure of the reference frame; it multiplies signal and noise.
    """

    planes: Tensor
    noise: NoiseLevel | Tensor
    levels: Levels | None = None
    clean: Tensor | None = None
    gain: float = 1.0

    def raw(self, rows: slice = slice(None), columns: slice = slice(None)) -> Tensor:
        """Decode a crop: raw planes in [0, 1], (4, rows, columns), float32."""
        crop = self.planes[:, rows, columns]
        raw = self.levels.scale(crop).clamp_(0, 1) if self.levels else crop
        return raw if self.gain == 1 else (self.gain * raw).clamp_(0, 1)

    def read(self, rows: slice = slice(None), columns: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """Decode a crop, with the standard deviation of its noise: (4, rows, columns) each, float32.

        Of a frame that is brighter than the reference frame, clipped samples are unknown: their noise is `UNKNOWN`.
        """
        raw = self.raw(rows, columns)
        if isinstance(self.noise, Tensor):
            noise = self.gain * self.noise[:, rows, columns]
        else:
            # The variance of g x is g^2 (shot x + read^2) = (g shot) (g x) + (g read)^2.
            noise = noise_map(raw[None], self.gain * self.noise.shot, self.gain * self.noise.read)[0]
        if self.gain < 1:
            noise = noise.masked_fill(raw >= self.gain, UNKNOWN)
        return raw, noise

    def at(self, y: Tensor, x: Tensor) -> RawFrame:
        """Return a frame of chosen samples, the same ones of all planes.

        Args:
            y: rows of the samples, (height, width), int64.
            x: columns of the samples, the same shape.

        Returns:
            The samples, with planes of (4, height, width).
        """
        places = y * self.planes.shape[-1] + x
        noise = _pick(self.noise, places) if isinstance(self.noise, Tensor) else self.noise
        return replace(self, planes=_pick(self.planes, places), noise=noise, clean=None)

    def to(self, device: torch.device) -> RawFrame:
        """Copy planes and noise to a device."""
        noise = self.noise.to(device) if isinstance(self.noise, Tensor) else self.noise
        return replace(self, planes=self.planes.to(device), noise=noise)


def _pick(planes: Tensor, places: Tensor) -> Tensor:
    """Values of planes (4, H, W) at pixels given by their numbers, (height, width): (4, height, width)."""
    if planes.dtype == torch.uint16:  # for which PyTorch has few operations
        return _pick(planes.view(torch.int16), places).view(torch.uint16)
    return planes.flatten(1).gather(1, places.flatten().expand(4, -1)).unflatten(1, places.shape)


@dataclass(frozen=True)
class Burst:
    """The frames that one picture is restored from.

    Attributes:
        frames: N frames of one size; the reference frame is N // 2.
        camera: colour metadata, a batch of one.
        shading: gains that the restored picture is multiplied by, to undo the shading of the lens; None: none.
    """

    frames: Sequence[RawFrame]
    camera: Camera
    shading: Shading | None = None

    @property
    def reference(self) -> RawFrame:
        """The frame that is restored."""
        return self.frames[len(self.frames) // 2]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the raw planes."""
        height, width = self.reference.planes.shape[-2:]
        return height, width

    def stack(self) -> tuple[Tensor, Tensor]:
        """Decode all frames: raw planes in [0, 1] and the standard deviation of their noise, (N, 4, H, W) each."""
        raw, noise = zip(*(frame.read() for frame in self.frames), strict=True)
        return torch.stack(raw), torch.stack(noise)

    @property
    def has_target(self) -> bool:
        """Whether the ground truth is known; that of a real camera is not."""
        return self.reference.clean is not None

    def target(self) -> Tensor:
        """Clean linear camera RGB of the reference frame, (3, 2H, 2W), float32; ValueError if it is not known."""
        if self.reference.clean is None:
            raise ValueError("burst: the ground truth of its reference frame is not known")
        return torch.cat(list(linear_bands(self.reference.clean, self.camera)), dim=1)


def linear_bands(picture: Tensor, camera: Camera) -> Iterator[Tensor]:
    """Unprocess a picture in bands of `BAND` rows, which bounds the memory of intermediate results.

    Args:
        picture: sRGB, (3, height, width) uint8.
        camera: colour metadata, a batch of one.

    Yields:
        Linear camera RGB, (3, at most BAND, width), float32 in [0, 1], from top to bottom.
    """
    camera = camera.to(device=picture.device)
    for band in picture.split(BAND, dim=1):
        # In one layout, since the last digits can depend on it
        linear = band[None].to(torch.float32, memory_format=torch.contiguous_format)
        yield unprocess(linear.div_(255), camera)[0]


@dataclass(frozen=True)
class BurstBatch:
    """A batch of degraded bursts for training.

    Attributes:
        lq: noisy raw planes R, G1, G2, B, (B, N, 4, H, W), linear, in [0, 1]; the reference frame is N // 2.
        noise_map: standard deviation of the noise of every sample of `lq`, same shape.
        camera: colour metadata, one entry per burst.
        target: clean linear camera RGB of the reference frame, (B, 3, 2H, 2W).
        clean_raw: clean raw planes of all frames, same shape as `lq`.
    """

    lq: Tensor
    noise_map: Tensor
    camera: Camera
    target: Tensor
    clean_raw: Tensor
