"""Choice of the reference frame of a raw burst, and exposures of its frames."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from twostagealign.data.camera.raw_folder import RawFolder
from twostagealign.data.metadata import FrameMetadata
from twostagealign.isp import Sharpness, exposure_ratio, overview, overview_block
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.memory import give_back_memory

Reference = int | Literal["middle", "sharpest"]
"""Index of the reference frame, from 0, or how it is chosen."""

_SIMILAR_SHARPNESS = 0.8  # share of the best, above noise, from which frames count as equally sharp
_INDISTINCT = 0.03  # sharpness that noise and its estimate may feign
_SIMILAR_EXPOSURE = 1.1  # ratio up to which the sharpness of frames can be compared
_SAME_EXPOSURE = 1.02  # ratio up to which exposure times differ by rounding
_CONTRADICTION = 1.5  # ratio of exposures by metadata and by samples from which a warning is given
_BAND = 128  # least number of rows that are decoded at a time: a whole frame, as float32, is large

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Look:
    """What the samples of a frame show: see `Sharpness` and `overview`."""

    sharpness: float
    overview: Tensor


def choose_reference(folder: RawFolder, reference: Reference | None = None) -> tuple[RawFolder, int]:
    """Find the exposures of a burst's frames, and its reference frame.

    Frames are read only where the reference frame is to be the sharpest, or metadata do not give the exposures. Where
    the frames are exposed differently, the sharpest is chosen among those of medium exposure, or of the longer one of
    two. Of frames that are about equally sharp, the one nearest to the middle is taken.

    Args:
        folder: the frames.
        reference: index of the reference frame, or how it is chosen; None: as the burst's data set says, otherwise the
            sharpest.

    Returns:
        The frames with their exposures, and the index of the reference frame.

    Raises:
        UserError: a frame cannot be read, or neither metadata nor samples tell its exposure.
    """
    count = len(folder.frames)
    if reference is None:
        reference = "sharpest" if folder.reference is None else folder.reference
    exposures = _known_exposures([folder.metadata(index) for index in range(count)])
    if count == 1 or (exposures and reference != "sharpest"):
        return replace(folder, exposures=exposures), reference if isinstance(reference, int) else count // 2
    looks = [_look(folder, index) for index in range(count)]
    give_back_memory()
    exposures = _checked(folder, exposures, looks) if exposures else _estimated(folder, looks)
    if reference == "sharpest":
        reference = _sharpest([look.sharpness for look in looks], exposures)
    return replace(folder, exposures=exposures), count // 2 if reference == "middle" else reference


def _look(folder: RawFolder, index: int) -> _Look:
    frame = folder.read(index)
    height, width = frame.planes.shape[1:]
    block = overview_block((height, width))
    rows = block * math.ceil(_BAND / block)
    sharpness, parts = Sharpness(), []
    for top in range(0, height, rows):
        planes, noise = frame.read(slice(top, top + rows))
        sharpness.add(planes, noise)
        parts.append(overview(planes, noise, block))
    return _Look(sharpness.value, torch.cat(parts))


def _known_exposures(frames: Sequence[FrameMetadata]) -> tuple[float, ...] | None:
    """Exposures relative to the first frame, by metadata; None if a frame does not say it."""
    first = frames[0].exposure
    exposures = []
    for frame in frames:
        ratio = frame.exposure.relative_to(first)
        if ratio is None or not 0 < ratio < math.inf:
            return None
        # A frame that is to be brightened more has recorded less light than its ISO speed says.
        ratio *= 2 ** (first.baseline - frame.exposure.baseline)
        exposures.append(1.0 if 1 / _SAME_EXPOSURE < ratio < _SAME_EXPOSURE else ratio)
    return tuple(exposures)


def _checked(folder: RawFolder, exposures: tuple[float, ...], looks: Sequence[_Look]) -> tuple[float, ...]:
    """Warn about samples that contradict the metadata."""
    base = _clearest(looks)
    for index, look in enumerate(looks):
        said = exposures[index] / exposures[base]
        seen = exposure_ratio(looks[base].overview, look.overview) if said != 1 else None
        if seen and not 1 / _CONTRADICTION < seen / said < _CONTRADICTION:
            logger.warning(
                "%s: by its metadata %.3g times the exposure of %s, by its samples %.3g times; the metadata are used",
                folder.paths[index],
                said,
                folder.paths[base].name,
                seen,
            )
    return exposures


def _estimated(folder: RawFolder, looks: Sequence[_Look]) -> tuple[float, ...]:
    """Exposures relative to the first frame, by the samples."""
    exposures: list[float] = []
    for index, look in enumerate(looks):
        # Frames move little from one to the next. Where they have no well-exposed samples in common, others may.
        known = range(index - 1, -1, -1)
        ratios = ((other, exposure_ratio(looks[other].overview, look.overview)) for other in known)
        found = next((exposures[other] * ratio for other, ratio in ratios if ratio is not None), None)
        if found is None and (index == 0 or not any(map(_known_pixels, looks))):  # or nothing to see in any frame
            found = 1.0
        if found is None:
            raise UserError(
                f"{folder.paths[index]}: its exposure is not known: it holds no exposure time, and its samples are not "
                f"those of {folder.paths[index - 1].name} times a factor; remove it"
            )
        exposures.append(found)
    if any(ratio != 1 for ratio in exposures):
        listed = ", ".join(f"{ratio:.3g}" for ratio in exposures)
        logger.warning("%s: no exposure times; exposures by the samples: %s", folder.paths[0].parent, listed)
    return tuple(exposures)


def _clearest(looks: Sequence[_Look]) -> int:
    """Index of the frame with most well-exposed pixels, of several the one nearest to the middle."""
    middle = len(looks) // 2
    return max(range(len(looks)), key=lambda index: (_known_pixels(looks[index]), -abs(index - middle)))


def _known_pixels(look: _Look) -> int:
    return int((~look.overview.isnan()).sum())


def _sharpest(sharpness: Sequence[float], exposures: Sequence[float]) -> int:
    levels: list[float] = []
    for exposure in sorted(exposures):
        if not levels or exposure > _SIMILAR_EXPOSURE * levels[-1]:
            levels.append(exposure)
    medium = levels[len(levels) // 2]
    candidates = [i for i, exposure in enumerate(exposures) if medium <= exposure <= _SIMILAR_EXPOSURE * medium]
    best = max(sharpness[i] for i in candidates)
    least = min(best, 1 + _SIMILAR_SHARPNESS * (best - 1) - _INDISTINCT)  # a frame without detail has 1
    middle = len(sharpness) // 2
    return min((i for i in candidates if sharpness[i] >= least), key=lambda i: abs(i - middle))
