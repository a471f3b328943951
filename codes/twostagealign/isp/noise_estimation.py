"""Estimation of shot and read noise from a raw frame."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

# Number of brightness levels; share of each level, the least textured blocks, that is used; and the share of clipped
# blocks above which a level is dropped, because clipping removes noise.
_BRIGHTNESSES, _FLAT, _CLIPPED = 32, 0.1, 0.02

_LEAST_BLOCKS = 20 * _BRIGHTNESSES


def estimate_noise(planes: Tensor) -> tuple[float, float]:
    """Estimate the noise of one raw frame from its finest detail.

    In blocks of 2 x 2 samples of a plane, the difference between the diagonals contains noise and texture. The
    differences between rows and between columns have independent noise; in the blocks where they are smallest, the
    diagonal difference is almost pure noise. A line fitted to its variance over the signal is the noise model.

    Args:
        planes: raw planes, (4, H, W), scaled to [0, 1] but not clamped.

    Returns:
        Shot noise (variance per unit of signal) and read noise (standard deviation).

    Raises:
        ValueError: the planes are too small, or clipped at every brightness.

    Source:
        Foi, Trimeche, Katkovnik and Egiazarian, "Practical Poissonian-Gaussian Noise Modeling and Fitting for
        Single-Image Raw-Data", IEEE TIP 2008: the model, and the idea to fit it over levels of brightness.
    """
    points = [point for plane in planes.double() for point in _points(plane)]
    if len(points) < 2:
        raise ValueError("found no two brightnesses with enough samples that are not clipped")
    signal, variance = torch.stack(points).T
    variance = variance.clamp_min(1e-12)
    model = variance
    for _ in range(10):
        shot, floor = _fit_line(signal / model, 1 / model, variance / model)
        # Errors are proportional to the noise. Variance far above the model is texture and gets little weight.
        model = torch.maximum(shot * signal + floor, variance)
    return shot, floor**0.5


def _points(plane: Tensor) -> Iterator[Tensor]:
    """Yield signal and noise variance, (2,), for each brightness level of a plane."""
    height, width = (side // 2 * 2 for side in plane.shape)
    a, b, c, d = corners = torch.stack([plane[y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)])
    if a.numel() < _LEAST_BLOCKS:
        return
    detail = ((a - b - c + d) / 2).flatten()
    texture = _mean_around((a - b + c - d) ** 2 + (a + b - c - d) ** 2, 5)
    signal = _mean_around(corners.mean(dim=0), 3)
    clipped = ((corners <= plane.min()) | (corners >= plane.max())).any(dim=0).flatten()
    for blocks in signal.argsort().tensor_split(_BRIGHTNESSES):
        if clipped[blocks].double().mean() <= _CLIPPED:
            flat = blocks[texture[blocks].argsort()[: int(len(blocks) * _FLAT)]]
            # Unlike the median, the mean of absolute values is reliable where noise is about one quantisation step.
            deviation = detail[flat].abs().mean() * (torch.pi / 2) ** 0.5
            yield torch.stack([signal[flat].mean(), deviation**2])


def _mean_around(values: Tensor, size: int) -> Tensor:
    """Return the mean over a square around every value, flattened."""
    return F.avg_pool2d(values[None], size, stride=1, padding=size // 2, count_include_pad=False).flatten()


def _fit_line(x: Tensor, one: Tensor, y: Tensor) -> tuple[float, float]:
    """Return the non-negative factors of `x` and `one` that fit `y` best."""
    slope, offset = torch.linalg.lstsq(torch.stack([x, one], dim=1), y[:, None]).solution.flatten().tolist()
    if slope < 0:
        return 0.0, (one @ y / (one @ one)).item()
    if offset < 0:
        return max(0.0, (x @ y / (x @ x)).item()), 0.0
    return slope, offset
