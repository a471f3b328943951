"""The burst as it travels through the program."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from twostagealign.isp import Camera


@dataclass(frozen=True)
class Burst:
    """A batch of noisy raw bursts with all that restoration, loss and metric need to know of them.

    Attributes:
        lq: noisy raw planes R, G1, G2, B, (B, N, 4, H, W), linear, in [0, 1]; the reference frame is N // 2.
        noise_map: standard deviation of the noise of every sample of `lq`, same shape.
        camera: colour metadata, one entry per burst.
        target: clean linear camera RGB of the reference frame, (B, 3, 2H, 2W); None for bursts from a real camera.
        clean_raw: clean raw planes of all frames, same shape as `lq`; None for bursts from a real camera.
    """

    lq: Tensor
    noise_map: Tensor
    camera: Camera
    target: Tensor | None = None
    clean_raw: Tensor | None = None
