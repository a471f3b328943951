"""Sharpness of raw frames, by which a reference frame is chosen."""

import torch
from torch import Tensor

WELL_EXPOSED = 0.95
"""Signal above which noise may clip a sample."""


def sharpness(planes: Tensor, noise: Tensor) -> float:
    """Measure the gradient energy of a raw frame against its noise.

    The grey value, the mean of the four planes, is compared with that of its right and its lower neighbour. The result
    is the mean of squared difference over noise variance over all well-exposed pairs: 1 for a frame without detail, and
    larger for a sharper frame. It compares frames of one scene and exposure.

    Args:
        planes: raw planes, (4, H, W), in [0, 1].
        noise: standard deviation of the noise of every sample, (4, H, W).

    Returns:
        The mean; 0 if no two neighbours are well exposed.
    """
    grey = planes.mean(dim=0)
    variance = (noise.square().mean(dim=0) / len(planes)).clamp_min(1e-10)
    exposed = planes.amax(dim=0) < WELL_EXPOSED
    total, count = 0.0, 0
    for dim in (0, 1):
        length = grey.shape[dim] - 1
        (a, b), (noise_a, noise_b), (exposed_a, exposed_b) = (
            (part.narrow(dim, 0, length), part.narrow(dim, 1, length)) for part in (grey, variance, exposed)
        )
        pairs = exposed_a & exposed_b
        total += ((a - b) ** 2 / (noise_a + noise_b))[pairs].sum(dtype=torch.float64).item()
        count += int(pairs.sum())
    return total / count if count else 0.0
