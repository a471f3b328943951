"""Mixes frames of different noise, for a network that expects equal noise in all frames."""

import torch
from torch import Tensor

from twostagealign.merging.average import SIDE, TINY, UNKNOWN, box_mean

_MOST = 2.0
"""Largest weight of a neighbour, as a multiple of the reference's: a less noisy frame may be aligned badly."""


def equalise_noise(samples: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Mix the neighbours of an aligned burst, so that the mean of all frames is their average weighted by noise.

    With weights p = 1 / variance, m the weighted average of the neighbours and b = p / sum(p) among them, a neighbour x
    becomes n + c (N - 1) b (x - m). The mean of the neighbours, n, lies on the line from m to the reference r, where
    (r + (N - 1) n) / N is the weighted average of all frames. c, at most 1, keeps the neighbours' noise, on average, as
    strong as the reference's. The reference stays. Frames of equal noise stay as they are.

    Args:
        samples: aligned raw planes, (N, 4, H, W), N at least 2; the reference frame is N // 2.
        noise: standard deviation of the noise of every sample, the shape of `samples`; 0 where there is no frame, and
            from `UNKNOWN` on where a sample says nothing.

    Returns:
        The samples, and the noise of N equally noisy frames whose mean is about as noisy; float32. Both stay as they
        are where the reference frame is unknown.

    Source:
        Not part of the paper.
    """
    samples, noise = samples.float(), noise.float()
    number = len(samples)
    middle = number // 2
    known = (noise > 0) & (noise < UNKNOWN)
    # The variance around a sample: by its own variance, a sample that noise makes darker would count more.
    variance = box_mean(noise.square() * known, SIDE) / box_mean(known.float(), SIDE)
    weights = torch.where(known, 1 / variance.clamp_min(TINY), 0.0)
    reference, own = samples[middle], weights[middle].clone()
    weights = torch.minimum(weights, _MOST * own)
    weights[middle] = 0
    total = weights.sum(dim=0)
    is_mixed = (own > 0) & (total > 0)
    own, total = own.masked_fill(~is_mixed, 1), total.masked_fill(~is_mixed, 1)
    shares = weights / total
    average = (shares * samples).sum(dim=0)
    part = (number * own / (own + total) - 1) / (number - 1)  # of the reference in the mean of the neighbours
    mean = average + part * (reference - average)
    of_mean = part.square() / own + (1 - part).square() / total
    of_rest = (number - 1) / total * (1 - shares.square().sum(dim=0))
    contrast = ((1 / own - of_mean) / of_rest.clamp_min(TINY)).clamp(0, 1).sqrt()
    mixed = mean + contrast * (number - 1) * shares * (samples - average)
    mixed[middle] = reference
    return torch.where(is_mixed, mixed, samples), torch.where(is_mixed, (number / (own + total)).sqrt(), noise)
