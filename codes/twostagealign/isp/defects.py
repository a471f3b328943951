"""Defective samples of a sensor, hot, dead or stuck: found from a burst, and replaced."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.isp.noise import noise_map
from twostagealign.isp.noise_estimation import Rows

LEAST_FRAMES = 3
"""Frames that a defect must show itself in; of fewer, details of the scene could be taken for defects."""

_EVERY_FRAME, _ON_AVERAGE = 1.0, 3.0
"""How far a defect stands out from its neighbours, in every frame and on average, as a multiple of the noise."""
_OF_TEXTURE = 3.0  # how far a defect stands out, as a multiple of the range of its neighbours beyond that of noise
_RANGE_OF_NOISE = 1.7  # from the second lowest to the second highest of eight normal deviates, on average
_OF_ADJACENT = 0.25  # how far the samples beside a defect may stand out, all but one, as a share of it
_BRIGHT, _DARK = 0.9, 2.0  # surroundings in which a hot sample does not show; a dead one, as a multiple of the noise
_MOST = 2e-3  # share of samples; more are texture
_BAND = 128  # rows that are examined at a time
_FEW = 0.01  # share of samples that may be left when whole frames are no longer examined
_AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
_BESIDE = [
    [(1, 0, 0), (1, 0, -1), (2, 0, 0), (2, -1, 0)],
    [(0, 0, 0), (0, 0, 1), (3, 0, 0), (3, -1, 0)],
    [(3, 0, 0), (3, 0, -1), (0, 0, 0), (0, 1, 0)],
    [(2, 0, 0), (2, 0, 1), (1, 0, 0), (1, 1, 0)],
]
"""For a sample of each plane, the four samples beside it, which have other colours: plane, and steps in y and x."""


def find_defects(frames: Sequence[Rows], size: tuple[int, int], shot: float, read: float) -> Tensor:
    """Find samples that stand out from their surroundings at the same place of every frame.

    A defect is beyond the second highest or lowest of the eight nearest samples of its colour, by more than noise and
    texture explain, and leaves the samples of other colours beside it as they are, unlike what a lens draws. The frames
    need not be aligned: defects stay where they are on the sensor. The outermost samples are not examined.

    Args:
        frames: for each frame, at least `LEAST_FRAMES`, a function that returns rows of its raw planes, (4, rows, W),
            scaled to [0, 1], not clamped.
        size: height and width of the raw planes.
        shot: shot noise.
        read: read noise.

    Returns:
        Plane, row and column of each defect, (K, 3), int64. None of them if there seem to be more than 0.2 %, which
        are texture of a scene that does not move.
    """
    height, width = size
    found = []
    if min(size) < 3:
        return torch.zeros(0, 3, dtype=torch.int64)
    for top in range(0, height, _BAND):
        start, stop = max(top - 2, 0), min(top + _BAND + 2, height)
        band = _defects_of_band([rows(slice(start, stop)) for rows in frames], shot, read)
        band += torch.tensor([0, start, 0])
        found.append(band[(band[:, 1] >= top) & (band[:, 1] < top + _BAND)])
    defects = torch.cat(found)
    return defects if len(defects) <= _MOST * 4 * height * width else defects[:0]


def replace_defects(planes: Tensor, defects: Tensor) -> None:
    """Replace defective samples by the median of their neighbours of the same colour that are not defective, in place.

    Args:
        planes: raw planes, (4, H, W), of any dtype, on the CPU.
        defects: plane, row and column of each defect, (K, 3).
    """
    if not len(defects):
        return
    _, height, width = planes.shape
    plane, row, column = defects.T
    steps = torch.tensor(_AROUND)
    y, x = row[:, None] + steps[:, 0], column[:, None] + steps[:, 1]
    inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    numbers = (plane[:, None] * height + y) * width + x
    inside &= ~torch.isin(numbers, (plane * height + row) * width + column)
    # Few operations of torch take uint16.
    around = planes[plane[:, None], y, x].float().masked_fill(~inside, torch.nan)
    median = around.nanmedian(dim=1).values
    known = inside.any(dim=1)
    places = (index[known].numpy() for index in (plane, row, column))
    planes.numpy()[tuple(places)] = median[known].numpy()


def _defects_of_band(frames: Sequence[Tensor], shot: float, read: float) -> Tensor:
    """Find the defects of a band: plane, row and column of each, (K, 3). Its outermost samples are not examined."""
    points = _possible(frames, shot, read)
    frames = [F.pad(frame[None], (1, 1, 1, 1), mode="reflect")[0] for frame in frames]
    least = torch.full((2, len(points)), torch.inf)
    total = torch.zeros(2, len(points))
    count = torch.zeros(2, len(points))
    for frame in frames:
        scale, *signs = _standing_out(*_at(frame, points), shot, read)
        beyond, shows = (torch.stack(pair) for pair in zip(*signs, strict=True))
        out = beyond / scale
        total += out * shows
        count += shows
        least = torch.minimum(least, out.masked_fill(~shows, torch.inf))
    clear = (count >= LEAST_FRAMES) & (least > _EVERY_FRAME) & (total > _ON_AVERAGE * count)
    points = points[clear.any(dim=0)]
    beside = (torch.tensor(_BESIDE)[points[:, 0]] + points[:, None] * torch.tensor([0, 1, 1])).flatten(0, 1)
    beside = _deviation(frames, beside, shot, read).reshape(-1, 4)
    second_highest = beside.sort(dim=1).values[:, 2]
    return points[second_highest < _OF_ADJACENT * _deviation(frames, points, shot, read)]


def _possible(frames: Sequence[Tensor], shot: float, read: float) -> Tensor:
    """Find the samples that may be defects: plane, row and column of each, (K, 3). The outermost ones are left out.

    Whole frames are examined until few samples are left. It is then quicker to examine those alone in all frames.
    """
    possible = torch.ones(2, *frames[0].shape, dtype=torch.bool)
    hidden = torch.zeros(2, *frames[0].shape, dtype=torch.uint8)  # number of frames
    for frame in frames:
        scale, *signs = _standing_out(frame, *_second_extremes(frame), shot, read)
        for sign, (beyond, shows) in enumerate(signs):
            hides = ~shows
            hidden[sign] += hides
            possible[sign] &= (beyond > (_EVERY_FRAME * scale)).logical_or_(hides)
            possible[sign] &= hidden[sign] <= len(frames) - LEAST_FRAMES
        either = possible[0] | possible[1]
        if either.sum() < _FEW * either.numel():
            break
    return either[:, 1:-1, 1:-1].nonzero() + torch.tensor([0, 1, 1])


def _standing_out(
    values: Tensor, low: Tensor, high: Tensor, shot: float, read: float
) -> tuple[Tensor, tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """How far samples stand out from their neighbours.

    Args:
        values: the samples, any shape.
        low: the second lowest of their neighbours, the same shape.
        high: the second highest of their neighbours, the same shape.
        shot: shot noise.
        read: read noise.

    Returns:
        The difference that noise and texture explain. Then two pairs, for hot and for dead samples: how far each sample
        stands out, and whether it could show, which it cannot where its surroundings are clipped.
    """
    noise = noise_map(high.clamp(0, 1), shot, read)  # grows with the signal
    texture = _OF_TEXTURE / _ON_AVERAGE * (high - low - _RANGE_OF_NOISE * noise)
    scale = torch.maximum(noise, texture)
    return scale, (values - high, high < _BRIGHT), (low - values, low > _DARK * noise)


def _deviation(frames: Sequence[Tensor], points: Tensor, shot: float, read: float) -> Tensor:
    """How far samples are from their neighbours, over all frames, as a multiple of the noise, (K,)."""
    deviation = torch.zeros(len(points))
    for frame in frames:
        value, low, high = _at(frame, points)
        deviation += (value - (low + high) / 2) / noise_map(high.clamp(0, 1), shot, read)
    return deviation.abs()


def _at(padded: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Read samples, and the second lowest and second highest of their neighbours, (K,) each.

    Args:
        padded: planes with one more sample on each side.
        points: plane, row and column of the samples in the planes before padding, (K, 3).
    """
    _, height, width = padded.shape
    plane, row, column = points.T
    number = (plane * height + row + 1) * width + column + 1
    around = padded.take(number[:, None] + torch.tensor([y * width + x for y, x in _AROUND])).sort(dim=1).values
    return padded.take(number), around[:, 1], around[:, -2]


def _second_extremes(planes: Tensor) -> tuple[Tensor, Tensor]:
    """Second lowest and second highest of a sample's neighbours: the eight nearest samples of its colour.

    The lowest or highest itself may be a defect. Borders are reflected. Each column of three samples is sorted once,
    for the samples to its left and to its right.
    """
    height, width = planes.shape[1:]
    padded = F.pad(planes[None], (1, 1, 1, 1), mode="reflect")[0]
    above, here, below = (padded[:, y : y + height] for y in range(3))
    lower, upper = torch.minimum(above, below), torch.maximum(above, below)
    lowest, highest = torch.minimum(lower, here), torch.maximum(upper, here)
    middle = torch.maximum(lower, torch.minimum(upper, here))
    left, centre, right = (slice(x, x + width) for x in range(3))
    low = ((lowest[..., left], middle[..., left]), (lowest[..., right], middle[..., right]))
    high = ((highest[..., left], middle[..., left]), (highest[..., right], middle[..., right]))
    return (
        _second(*low, (lower[..., centre], upper[..., centre]), torch.minimum, torch.maximum),
        _second(*high, (upper[..., centre], lower[..., centre]), torch.maximum, torch.minimum),
    )


_Pair = tuple[Tensor, Tensor]
_Choice = Callable[[Tensor, Tensor], Tensor]


def _second(one: _Pair, two: _Pair, three: _Pair, first: _Choice, last: _Choice) -> Tensor:
    """The second in order of three sorted pairs; of two tensors, `first` chooses what is first in this order."""
    second = first(last(one[0], two[0]), first(one[1], two[1]))  # of the first two pairs
    return first(last(first(one[0], two[0]), three[0]), first(second, three[1]))
