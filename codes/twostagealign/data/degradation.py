"""From clean sRGB frames to noisy raw bursts, batched and on any device.

Source: Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from twostagealign.data.burst import BurstBatch
from twostagealign.isp import (
    Camera,
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


def _unprocess_frames(frames: Tensor, camera: Camera) -> Tensor:
    """Clean uint8 sRGB (B, N, 3, 2H, 2W) to linear camera RGB of the same shape, float32 in [0, 1]."""
    return unprocess(frames.float().div_(255), camera)


def degrade(frames: Tensor, seeds: Sequence[int]) -> BurstBatch:
    """Make training bursts: every burst gets a camera, a noise level and noise of its own.

    Args:
        frames: clean sRGB frames, uint8, (B, N, 3, 2H, 2W), on the device where the bursts are wanted.
        seeds: one for each burst, of all that is drawn for it; a burst does not depend on the others of its batch. The
            same seed gives the same burst on the same kind of device.

    Returns:
        The bursts, float32, with target and clean raw.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    camera = join_cameras([random_camera(1, draw) for draw in draws]).to(device=frames.device)
    levels = [random_noise_levels(1, draw) for draw in draws]
    shot, read = (torch.cat(level).to(frames.device) for level in zip(*levels, strict=True))
    linear = _unprocess_frames(frames, camera)
    clean_raw = mosaic(linear)
    lq = torch.empty_like(clean_raw)
    for i, draw in enumerate(draws):
        # A seed drawn from the burst's own: with the seed itself, camera and noise would share their random numbers.
        noise = torch.Generator(frames.device).manual_seed(int(torch.randint(2**62, (), generator=draw)))
        lq[i] = add_noise(clean_raw[i, None], shot[i], read[i], noise)[0]
    return BurstBatch(lq, noise_map(lq, shot, read), camera, linear[:, frames.shape[1] // 2], clean_raw)


def degrade_by_protocol(frames: Tensor, shot: float, read: float, frame_numbers: list[int]) -> BurstBatch:
    """Make one burst of the test protocol: fixed camera, noise that is the same in every run and on every machine.

    Args:
        frames: clean sRGB frames of one burst, uint8, (N, 3, 2H, 2W).
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.
        frame_numbers: number of each frame in its clip, counted from 1; it seeds the frame's noise.

    Returns:
        The burst with a batch axis of one.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """
    camera = protocol_camera().to(device=frames.device)
    linear = _unprocess_frames(frames[None], camera)
    clean_raw = mosaic(linear)
    noisy = [protocol_noise(raw, shot, read, k) for raw, k in zip(clean_raw[0], frame_numbers, strict=True)]
    lq = torch.stack(noisy)[None].clamp_(0, 1)
    levels = (torch.tensor([value], device=frames.device) for value in (shot, read))
    return BurstBatch(lq, noise_map(lq, *levels), camera, linear[:, len(frames) // 2], clean_raw)
