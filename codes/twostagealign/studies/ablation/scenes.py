"""Scenes of the ablation: photographs set in motion by a known amount, and frames of a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostagealign.data import (
    PROTOCOL_NOISE,
    Burst,
    Clip,
    ClipInMemory,
    NoiseLevel,
    bundled_picture,
    burst_from_picture,
    open_clip,
    read_burst,
)
from twostagealign.runtime.errors import UserError

FRAMES = 5
SIZE = 512
MEASURED = SIZE // 2
"""Sides of the frames and of their measured middle, RGB pixels. The border of 64 raw pixels is one tile, and more than
the motion over two of the longest steps: the measured part is inside every frame."""
SHIFTS = (0, 4, 8, 16, 24)
"""Raw pixels from frame to frame; the search window of the test protocol reaches 24."""
PICTURES = ("astronaut", "coffee", "motorcycle_left")
CLIP_PICTURES, CLIP_BURSTS = 2, 3
"""Number of frames of a clip that are set in motion, and number of bursts with its own motion."""

NUMBERS = (1, 2, 3, 4, 5, 7, 9)
"""Numbers of frames that one reference frame is restored from."""
NUMBER_SHIFTS = (8, 16)
"""Raw pixels from frame to frame of bursts of different numbers of frames. With the longer shift, the outer frames of
nine no longer show all that is measured."""

BUNDLED, CLIP, OWN_MOTION = "bundled pictures", "pictures of the clip", "the clip in its own motion"
BY_NUMBER, CLIP_BY_NUMBER = "bundled pictures in motion", "the middle frame of the clip in its own motion"
"""Groups of scenes; tables show the means over them. Those of the second line differ in their number of frames."""

NOISE = {
    "high": PROTOCOL_NOISE["high"],
    "medium": NoiseLevel("medium", 4e-3, 2e-4**0.5),
    "low": PROTOCOL_NOISE["low"],
}
"""Noise levels of the test protocol, and their geometric mean."""


@dataclass(frozen=True)
class AblationScene:
    """Clean frames from which bursts are made.

    Attributes:
        group: name of its group, see `BUNDLED`.
        picture: name of the reference frame.
        shift: shift from frame to frame, raw pixels; None for the motion of a clip.
        frames: function that makes the frames, (number, 3, SIZE, SIZE) uint8.
        first_number: number of the first frame, from 1; it seeds the noise of the test protocol.
        number: number of frames.
    """

    group: str
    picture: str
    shift: int | None
    frames: Callable[[], Tensor]
    first_number: int = 1
    number: int = FRAMES

    def burst(self, noise: NoiseLevel) -> Burst:
        """Degrade the frames by the test protocol."""
        clip = ClipInMemory(self.picture, self.frames(), noise, self.first_number)
        return read_burst(clip, clip.references)


def middle(image: Tensor) -> Tensor:
    """Return the measured part of a square image: half of each side."""
    side = image.shape[-1]
    part = slice(side // 4, side - side // 4)
    return image[..., part, part]


def bundled_scenes() -> list[AblationScene]:
    """Return the photographs `PICTURES`, which come with scikit-image, at all shifts."""
    scenes: list[AblationScene] = []
    for seed, name in enumerate(PICTURES):
        scenes += _in_motion(BUNDLED, name, partial(bundled_picture, name), seed)
    return scenes


def scenes_by_number(folder: Path | None = None) -> list[AblationScene]:
    """Return the photographs `PICTURES` at `NUMBER_SHIFTS`, and a frame of a clip, from each of `NUMBERS` of frames.

    The reference frame and its noise are the same in all bursts of a scene; smaller bursts are the middle of larger.
    """
    scenes: list[AblationScene] = []
    for seed, name in enumerate(PICTURES):
        for shift in NUMBER_SHIFTS:

            def frames(name: str = name, shift: int = shift, seed: int = seed) -> Tensor:
                return burst_from_picture(bundled_picture(name), max(NUMBERS), (SIZE, SIZE), (shift, shift), seed=seed)[
                    0
                ]

            scenes += _of_numbers(BY_NUMBER, name, shift, frames, 1)
    if folder is not None:
        clip, names = _open(folder, max(NUMBERS))
        first = (len(names) - max(NUMBERS)) // 2
        name = names[first + max(NUMBERS) // 2]
        scenes += _of_numbers(CLIP_BY_NUMBER, name, None, partial(_middles, clip, first, max(NUMBERS)), first + 1)
    return scenes


def _of_numbers(
    group: str, picture: str, shift: int | None, frames: Callable[[], Tensor], first_number: int
) -> Iterator[AblationScene]:
    """Yield the middle of a long burst in each of `NUMBERS` of frames."""
    for number in NUMBERS:
        first = max(NUMBERS) // 2 - number // 2

        def part(first: int = first, number: int = number) -> Tensor:
            return frames()[first : first + number]

        yield AblationScene(group, picture, shift, part, first_number + first, number)


def clip_scenes(folder: Path) -> list[AblationScene]:
    """Return some frames of a clip, a folder of pictures, at all shifts, and bursts with its own motion."""
    clip, names = _open(folder, FRAMES)
    scenes: list[AblationScene] = []
    for number, index in enumerate(_spread(0, len(names) - 1, CLIP_PICTURES)):
        scenes += _in_motion(CLIP, names[index], partial(_read_rgb, clip, index), len(PICTURES) + number)
    for index in _spread(FRAMES // 2, len(names) - 1 - FRAMES // 2, CLIP_BURSTS):
        first = index - FRAMES // 2
        scenes.append(AblationScene(OWN_MOTION, names[index], None, partial(_middles, clip, first, FRAMES), first + 1))
    return scenes


def _open(folder: Path, least: int) -> tuple[Clip, list[str]]:
    """Open a clip and list the names of its frames. UserError if it has fewer than `least`, or too small ones."""
    clip = open_clip(folder, NOISE["high"])
    count = len(clip.frames)
    height, width = (2 * side for side in clip.size)
    if count < least or min(height, width) < SIZE:
        found = f"{count} pictures of {width}x{height}"
        raise UserError(f"{folder}: found {found}, expected at least {least} of {SIZE}x{SIZE}")
    return clip, [f"{folder.resolve().name}/{name}" for name in clip.frames]


def _middles(clip: Clip, first: int, number: int) -> Tensor:
    """Middles of successive pictures of a clip, (number, 3, SIZE, SIZE)."""
    top, left = ((2 * side - SIZE) // 4 * 2 for side in clip.size)
    pictures = [clip.picture(index) for index in range(first, first + number)]
    return torch.stack(pictures)[..., top : top + SIZE, left : left + SIZE]


def _in_motion(group: str, name: str, read: Callable[[], np.ndarray], seed: int) -> Iterator[AblationScene]:
    """Yield a picture at all shifts: the same camera path, in longer or shorter steps."""
    for shift in SHIFTS:

        def frames(shift: int = shift) -> Tensor:
            return burst_from_picture(read(), FRAMES, (SIZE, SIZE), (shift, shift), seed=seed)[0]

        yield AblationScene(group, name, shift, frames)


def _read_rgb(clip: Clip, index: int) -> np.ndarray:
    return clip.picture(index).permute(1, 2, 0).contiguous().numpy()


def _spread(first: int, last: int, count: int) -> list[int]:
    """Return up to `count` evenly spaced integers from `first` to `last`."""
    return sorted({round(first + (last - first) * i / (count - 1)) for i in range(count)})
