"""The noise-aware average of an aligned burst."""

import torch
from torch import Tensor
from torch.nn import functional as F

DRIFT = 0.03
"""Squared error of the alignment that is expected for each frame of distance, and that noise hides; share of the
variance of the noise."""
UNKNOWN = 1.0
"""Standard deviation of the noise of samples that say nothing about the signal, on the [0, 1] scale."""
SIDE = 5
"""Side of the windows that frames are compared in, raw pixels."""
SLACK = 1.1
"""Squared differences up to so many times what the noise explains count as noise."""
STRICTNESS = 2.0
"""How fast the weight of a neighbour falls with what noise does not explain. With 1, the average of frames that differ
alike from the reference has the least squared error. A network prefers less blur to less noise."""


def merge_reference(lq: Tensor, noise_map: Tensor) -> tuple[Tensor, Tensor]:
    """Replace the reference frame of aligned bursts by the average of all frames, and its noise map by the average's.

    A neighbour counts at a pixel as far as its difference to the reference, in a window around that pixel, is no larger
    than noise explains. With s the variance of the reference's noise, d the squared difference and e the sum of both
    variances, each a mean over the window (d and e over the four planes too), the weight of a neighbour k frames away
    is s / (s + 2 (N - 1) (max(0, d - 1.1 e) + 0.03 k s)); the reference's weight is 1. Pixels of a neighbour that are
    unknown in any plane do not count; their values stay, and their noise becomes that of the average.

    Args:
        lq: aligned noisy raw planes, (B, N, 4, H, W); the reference frame is N // 2, and known everywhere.
        noise_map: standard deviation of the noise of every value, the shape of `lq`; from `UNKNOWN` on, a value is
            unknown.

    Returns:
        `lq` and `noise_map` with another frame N // 2, in the dtypes given. The noise of the average is no longer
        independent of that of the other frames. A burst of one frame is returned as it is.

    Source:
        Not part of the paper. The weight is the shrinkage of Hasinoff et al., "Burst photography for high dynamic range
        and low-light imaging on mobile cameras", SIGGRAPH Asia 2016, section 5, per pixel instead of per frequency.

    Example:
        >>> lq, noise_map = torch.rand(1, 1, 4, 8, 8), torch.full((1, 5, 4, 8, 8), 0.1)
        >>> merge_reference(lq.expand(1, 5, 4, 8, 8), noise_map)[1][0, :, 0, 0, 0]
        tensor([0.1000, 0.1000, 0.0452, 0.1000, 0.1000])
    """
    number = lq.shape[1]
    reference = number // 2
    if number == 1:
        return lq, noise_map
    # Differences of squares need full precision.
    values = lq.to(torch.promote_types(lq.dtype, torch.float32))
    variances = noise_map.to(values.dtype).square()
    known = (noise_map < UNKNOWN).all(dim=2, keepdim=True)
    own, own_variance = values[:, reference], variances[:, reference]
    allowed = box_mean(own_variance, SIDE)
    # The noise of an average falls with the number of frames, what they differ by does not.
    strictness = STRICTNESS * (number - 1)
    total, total_variance, weights = own.clone(), own_variance.clone(), torch.ones_like(own)
    for frame in range(number):  # one after the other, which the caches hold
        if frame == reference:
            continue
        difference = (values[:, frame] - own).square_().mean(dim=1, keepdim=True)
        explained = (variances[:, frame] + own_variance).mean(dim=1, keepdim=True)
        counts = known[:, frame].to(values.dtype)
        excess = box_mean((difference - SLACK * explained) * counts, SIDE).clamp_min_(0)
        excess /= box_mean(counts, SIDE).clamp_min_(TINY)
        drift = DRIFT * abs(frame - reference)
        # Where there is no noise, what agrees exactly counts.
        weight = (allowed + TINY) / ((1 + strictness * drift) * (allowed + TINY) + strictness * excess) * counts
        total.addcmul_(weight, values[:, frame])
        total_variance.addcmul_(weight.square(), variances[:, frame])
        weights += weight
    average, deviation = total / weights, total_variance.sqrt_() / weights
    merged, its_map = lq.clone(), torch.where(known, noise_map, deviation.to(noise_map.dtype).unsqueeze(1))
    merged[:, reference], its_map[:, reference] = average, deviation
    return merged, its_map


TINY = 1e-12
"""Variance that is added so that nothing is divided by zero."""


def box_mean(maps: Tensor, side: int) -> Tensor:
    """Mean over square windows, of their part inside the map.

    Args:
        maps: (B, C, H, W).
        side: side of a window, odd.

    Returns:
        (B, C, H, W).
    """
    columns = F.avg_pool2d(maps, (side, 1), 1, (side // 2, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, side), 1, (0, side // 2), count_include_pad=False)
