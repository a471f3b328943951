"""From clean sRGB frames to noisy raw frames: batches for training, single frames of the test protocol.

Source: Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from twostagealign.data.burst import BurstBatch, NoiseLevel, RawFrame, linear_bands
from twostagealign.isp import (
    PROTOCOL_LEVELS,
    NoiseRange,
    add_noise,
    join_cameras,
    mosaic,
    noise_map,
    protocol_camera,
    protocol_noise,
    random_camera,
    random_noise_levels,
    unprocess,
)

PROTOCOL_NOISE = {name: NoiseLevel(name, *level) for name, level in PROTOCOL_LEVELS.items()}
"""Noise levels of the test protocol, by name."""


def degrade(frames: Tensor, seeds: Sequence[int], noise: NoiseRange | None = None) -> BurstBatch:
    """Make training bursts, float32: every burst gets a camera, a noise level and noise of its own.

    Args:
        frames: clean sRGB frames, uint8, (B, N, 3, 2H, 2W), on the device where the bursts are wanted.
        seeds: one for each burst, of all that is drawn for it; a burst does not depend on the others of its batch. The
            same seed gives the same burst on the same kind of device.
        noise: range of the noise levels; None: the paper's.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    camera = join_cameras([random_camera(1, draw) for draw in draws]).to(device=frames.device)
    levels = [random_noise_levels(1, draw, noise) for draw in draws]
    shot, read = (torch.cat(level).to(frames.device) for level in zip(*levels, strict=True))
    linear = unprocess(frames.float().div_(255), camera)
    clean_raw = mosaic(linear)
    lq = torch.empty_like(clean_raw)
    for i, draw in enumerate(draws):
        # A seed drawn from the burst's own: with the seed itself, camera and noise would share their random numbers.
        samples = torch.Generator(frames.device).manual_seed(int(torch.randint(2**62, (), generator=draw)))
        lq[i] = add_noise(clean_raw[i, None], shot[i], read[i], samples)[0]
    return BurstBatch(lq, noise_map(lq, shot, read), camera, linear[:, frames.shape[1] // 2], clean_raw)


def degrade_by_protocol(picture: Tensor, noise: NoiseLevel, number: int) -> RawFrame:
    """Make one frame of the test protocol: fixed camera, noise that is the same in every run and on every machine.

    Args:
        picture: clean sRGB frame, (3, 2H, 2W) uint8.
        noise: noise level.
        number: number of the frame in its clip, from 1; it seeds the noise.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """
    raw = torch.cat([mosaic(band) for band in linear_bands(picture, protocol_camera())], dim=1)
    return RawFrame(protocol_noise(raw, noise.shot, noise.read, number).clamp_(0, 1), noise, clean=picture)
