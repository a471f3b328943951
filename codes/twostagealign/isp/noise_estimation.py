"""Estimation of shot and read noise from raw frames."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.isp.block_motion import align_blocks

Rows = Callable[[slice], Tensor]
"""Returns rows of raw planes, so that only what is examined is decoded and in memory."""

# Number of brightness levels, and the share of clipped blocks above which a level is dropped, because clipping removes
# noise.
_BRIGHTNESSES, _CLIPPED = 32, 0.02
_FLAT = {1: 0.1, 2: 0.2}
"""Share of each level, the least textured blocks, that is used, of one frame and of a difference of two."""

_LEAST_BLOCKS = 20 * _BRIGHTNESSES

_LEAST_SIDE = 64  # of planes that are aligned
_MOST_SAMPLES = 2**20  # of a plane that is aligned


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
    return _fit([point for plane in planes.double() for point in _points(plane[None])])


def estimate_burst_noise(frames: Sequence[Rows], size: tuple[int, int]) -> tuple[float, float]:
    """Estimate the noise of raw frames that were exposed alike.

    As `estimate_noise`, but of differences between consecutive frames, aligned block by block, which contain less
    texture. Of large frames, rows around the middle are used.

    Args:
        frames: for each frame, one or more, a function that returns rows of its raw planes, (4, rows, W), scaled to
            [0, 1] but not clamped.
        size: height and width of the raw planes.

    Returns:
        Shot noise (variance per unit of signal) and read noise (standard deviation).

    Raises:
        ValueError: the planes are too small, or clipped at every brightness.
    """
    height, width = size
    if len(frames) == 1 or min(height, width) < _LEAST_SIDE:
        return estimate_noise(frames[len(frames) // 2](slice(None)))
    count = min(height, max(_MOST_SAMPLES // width, _LEAST_SIDE))
    top = (height - count) // 2
    points = []
    for frame, other in pairwise(rows(slice(top, top + count)) for rows in frames):
        aligned = align_blocks(frame, other)
        pairs = zip(frame[:, : aligned.shape[1], : aligned.shape[2]].double(), aligned.double(), strict=True)
        points += [point for pair in pairs for point in _points(torch.stack(pair))]
    return _fit(points)


def _fit(points: Sequence[Tensor]) -> tuple[float, float]:
    """Fit shot and read noise to points of signal and variance."""
    if len(points) < 2:
        raise ValueError("found no two brightnesses with enough samples that are not clipped")
    signal, variance = torch.stack(list(points)).T
    variance = variance.clamp_min(1e-12)
    model = variance
    for _ in range(10):
        shot, floor = _fit_line(signal / model, 1 / model, variance / model)
        # Errors are proportional to the noise. Variance far above the model is texture and gets little weight.
        model = torch.maximum(shot * signal + floor, variance)
    return shot, floor**0.5


def _points(planes: Tensor) -> Iterator[Tensor]:
    """Yield signal and noise variance, (2,), for each brightness level.

    Args:
        planes: one plane, (1, H, W), or the same plane of two aligned frames, (2, H, W), whose difference is examined.
    """
    height, width = (side // 2 * 2 for side in planes.shape[1:])
    corners = torch.stack([planes[:, y:height:2, x:width:2] for y in (0, 1) for x in (0, 1)], dim=1)
    if corners[0, 0].numel() < _LEAST_BLOCKS:
        return
    # The variance of a difference is twice that of a frame.
    a, b, c, d = corners[0] if len(planes) == 1 else (corners[0] - corners[1]) / 2**0.5
    detail = ((a - b - c + d) / 2).flatten()
    texture = _mean_around((a - b + c - d) ** 2 + (a + b - c - d) ** 2, 5)
    signal = _mean_around(corners.mean(dim=(0, 1)), 3)
    low, high = (extreme(planes, dim=(1, 2))[:, None, None, None] for extreme in (torch.amin, torch.amax))
    clipped = ((corners <= low) | (corners >= high)).any(dim=1).any(dim=0).flatten()
    for blocks in signal.argsort().tensor_split(_BRIGHTNESSES):
        if clipped[blocks].double().mean() <= _CLIPPED:
            flat = blocks[texture[blocks].argsort()[: int(len(blocks) * _FLAT[len(planes)])]]
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
