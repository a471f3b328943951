"""Photon transfer: noise over signal, measured on pairs of equal frames."""

import torch
import torch.nn.functional as F
from torch import Tensor

_BLOCK = 16
_STEPS = 20


def transfer_points(one: Tensor, other: Tensor, white: float) -> Tensor:
    """Measure signal and noise variance of the blocks of two equal frames.

    The difference of two frames has noise only: shading, dust, and differences between samples cancel out.

    Args:
        one: raw planes over black, (4, H, W), floating point.
        other: raw planes over black of another frame of the same scene and about the same exposure.
        white: level above which samples are clipped; blocks with such samples are left out.

    Returns:
        Signal and variance, (K, 2), in the units of the planes and their square.
    """
    totals = one.mean(dim=(1, 2)), other.mean(dim=(1, 2))
    # Of flat frames, the second one is scaled to the brightness of the first. Dark ones have none.
    ratio = torch.where(totals[1] > 0.01 * white, totals[0] / totals[1], torch.ones(4))
    other = other * ratio[:, None, None]
    mean = F.avg_pool2d((one + other) / 2, _BLOCK)
    difference = one - other
    # Slow changes of light between the frames are no noise.
    variance = F.avg_pool2d(difference.square(), _BLOCK) - F.avg_pool2d(difference, _BLOCK).square()
    variance = variance / 2 * _BLOCK**2 / (_BLOCK**2 - 1)
    brightest = F.max_pool2d(torch.maximum(one, other), _BLOCK)
    return torch.stack([mean, variance], dim=-1)[brightest < white]


def fit_photon_transfer(points: Tensor) -> tuple[float, float]:
    """Fit variance = shot * signal + read ** 2.

    Args:
        points: signal and variance, (K, 2).

    Returns:
        Shot noise (variance per unit of signal) and read noise (standard deviation).

    Raises:
        ValueError: the points show no noise that rises with the signal.

    Source:
        Janesick, "Photon Transfer", SPIE Press 2007, chapter 5.
    """
    signal, variance = points.double().T
    model = torch.full_like(variance, variance.mean().item())
    shot = floor = 0.0
    for _ in range(_STEPS):
        # The error of a variance is proportional to it.
        rows = torch.stack([signal, torch.ones_like(signal)], dim=1) / model[:, None]
        shot, floor = torch.linalg.lstsq(rows, (variance / model)[:, None]).solution.flatten().tolist()
        if not shot > 0:
            raise ValueError("the noise does not rise with the signal")
        model = (shot * signal + floor).clamp_min(0.1 * variance.median())
    return shot, max(floor, 0.0) ** 0.5
