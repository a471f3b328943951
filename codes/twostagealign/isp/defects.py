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
_BAND = 64  # rows that are examined at a time
_AROUND = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


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
    for top in range(0, height, _BAND):
        start, stop = max(top - 2, 0), min(top + _BAND + 2, height)
        band = _defects_of_band([rows(slice(start, stop)) for rows in frames], shot, read)
        band = band[:, top - start : min(top + _BAND, height) - start]
        found.append(band.nonzero() + torch.tensor([0, top, 0]))
    defects = torch.cat(found)
    # The outermost samples have too few neighbours.
    _, y, x = defects.T
    defects = defects[(y > 0) & (y < height - 1) & (x > 0) & (x < width - 1)]
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
    """Mask of defects, (4, rows, W)."""
    shape = frames[0].shape
    least = {sign: torch.full(shape, torch.inf) for sign in (1, -1)}
    total = {sign: torch.zeros(shape) for sign in (1, -1)}
    count = {sign: torch.zeros(shape) for sign in (1, -1)}
    deviation = torch.zeros(shape)
    for frame in frames:
        low, high = _second_extremes(frame)
        noise = noise_map(high.clamp(0, 1), shot, read)  # grows with the signal
        texture = _OF_TEXTURE / _ON_AVERAGE * (high - low - _RANGE_OF_NOISE * noise)
        scale = torch.maximum(noise, texture)
        # Where its surroundings are clipped, a hot or dead sample does not show.
        for sign, beyond, shows in ((1, frame - high, high < _BRIGHT), (-1, low - frame, low > _DARK * noise)):
            out = beyond / scale
            total[sign] += out * shows
            count[sign] += shows
            torch.minimum(least[sign], out.masked_fill_(~shows, torch.inf), out=least[sign])
        deviation += (frame - (low + high) / 2) / noise
    alone = _adjacent(deviation.abs()) < _OF_ADJACENT * deviation.abs()
    masks = [
        (count[sign] >= LEAST_FRAMES) & (least[sign] > _EVERY_FRAME) & (total[sign] > _ON_AVERAGE * count[sign])
        for sign in (1, -1)
    ]
    return (masks[0] | masks[1]) & alone


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


def _adjacent(values: Tensor) -> Tensor:
    """Second highest of the four samples beside each one in the mosaic, which have other colours than it, (4, H, W)."""
    red, green, green_of_blue, blue = F.pad(values[None], (1, 1, 1, 1), mode="replicate")[0]
    here = (slice(1, -1), slice(1, -1))
    left, right = (slice(1, -1), slice(None, -2)), (slice(1, -1), slice(2, None))
    above, below = (slice(None, -2), slice(1, -1)), (slice(2, None), slice(1, -1))
    beside = (
        (green[here], green[left], green_of_blue[here], green_of_blue[above]),
        (red[here], red[right], blue[here], blue[above]),
        (blue[here], blue[left], red[here], red[below]),
        (green_of_blue[here], green_of_blue[right], green[here], green[below]),
    )
    return torch.stack([_second_highest(four) for four in beside])


def _second_highest(four: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    one, two, three, last = four
    highest = torch.minimum(torch.maximum(one, two), torch.maximum(three, last))
    return torch.maximum(highest, torch.maximum(torch.minimum(one, two), torch.minimum(three, last)))
