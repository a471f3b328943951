"""Order of the frames of a folder, and its bursts, by time of capture."""

import logging
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from twostagealign.data.camera.libraw import open_raw
from twostagealign.data.camera.shot_tags import describe_shot
from twostagealign.data.camera.tiff_tags import read_tags
from twostagealign.runtime.errors import UserError

logger = logging.getLogger(__name__)


def capture_order(paths: Sequence[Path], times: Sequence[datetime | None]) -> list[int]:
    """Order frames by time of capture, if all files have it; frames of equal time stay as they are.

    A warning tells where this contradicts the order of the names, and where only some files have a time.

    Args:
        paths: the files, in natural order of their names.
        times: time of capture of each file; None if unknown.

    Returns:
        Indices into `paths`.
    """
    indices = list(range(len(paths)))
    known = [time for time in times if time is not None]
    if len(known) < len(paths):
        if known:
            missing = paths[list(times).index(None)]
            logger.warning("%s: no capture time, unlike other files; frames are in the order of their names", missing)
        return indices
    order = sorted(indices, key=known.__getitem__)
    for index, following in pairwise(order):
        if following < index:
            earlier, later = paths[index].name, paths[following].name
            logger.warning("%s: %s was captured before %s; used in this order", paths[0].parent, earlier, later)
            break
    return order


def capture_times(paths: Sequence[Path]) -> list[datetime | None]:
    """Read when raw files were captured; None where a file does not say it. UserError if one cannot be read."""
    times = []
    for path in paths:
        tags = read_tags(path)
        with open_raw(path) as raw:
            times.append(describe_shot(tags, raw).captured)
    return times


def split_by_gaps(paths: Sequence[Path], times: Sequence[datetime | None], gap: float) -> list[list[int]]:
    """Split frames into bursts, where more than some seconds pass from one frame to the next.

    Args:
        paths: the files.
        times: time of capture of each file; None if unknown.
        gap: longest time between two frames of a burst, seconds.

    Returns:
        Indices into `paths` of the frames of each burst, in order of capture.

    Raises:
        UserError: a file has no time.
    """
    known: list[datetime] = []
    for path, time in zip(paths, times, strict=True):
        if time is None:
            raise UserError(f"{path}: no capture time, which --split-bursts needs; put each burst in its own folder")
        known.append(time)
    order = capture_order(paths, known)
    bursts = [order[:1]]
    for index, following in pairwise(order):
        if (known[following] - known[index]).total_seconds() > gap:
            bursts.append([])
        bursts[-1].append(following)
    return bursts
