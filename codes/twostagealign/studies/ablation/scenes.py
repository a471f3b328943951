"""What is restored: photographs set in motion by a known amount, and frames of a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostagealign.data import (
    PROTOCOL_NOISE,
    Burst,
    ClipInMemory,
    NoiseLevel,
    bundled_picture,
    burst_from_picture,
    open_clip,
    read_burst,
    read_picture,
)
from twostagealign.runtime.errors import UserError

FRAMES = 5
SIZE, MEASURED = 512, 256
"""Sides of the frames and of their middle, which is measured, RGB pixels. The border of 64 raw pixels is more than a
frame two of the longest steps away has moved, and one tile: what is measured lies wholly inside every frame."""
SHIFTS = (0, 4, 8, 16, 24)
"""Raw pixels from frame to frame; the search window of the test protocol reaches 24."""
PICTURES = ("astronaut", "coffee", "motorcycle_left")
CLIP_PICTURES, CLIP_BURSTS = 2, 3
"""How many frames of a clip are set in motion, and how many bursts of its own motion are taken."""

BUNDLED, CLIP, OWN_MOTION = "bundled pictures", "pictures of the clip", "the clip in its own motion"
"""Groups of scenes; tables show the means over them."""

NOISE = {
    "high": PROTOCOL_NOISE["high"],
    "medium": NoiseLevel("medium", 4e-3, 2e-4**0.5),
    "low": PROTOCOL_NOISE["low"],
}
"""Noise levels of the test protocol, and their geometric mean."""


@dataclass(frozen=True)
class AblationScene:
    """Clean frames that bursts are made of.

    Attributes:
        group: see `BUNDLED`.
        picture: name of the reference frame.
        shift: raw pixels from frame to frame; None for the motion of a clip.
        frames: makes the frames, (FRAMES, 3, SIZE, SIZE) uint8.
        first_number: of the first frame, from 1; the noise of the test protocol goes by it.
    """

    group: str
    picture: str
    shift: int | None
    frames: Callable[[], Tensor]
    first_number: int = 1

    def burst(self, noise: str) -> Burst:
        """Degrade the frames by the test protocol, at one of the levels `NOISE`."""
        clip = ClipInMemory(self.picture, self.frames(), NOISE[noise], self.first_number)
        return read_burst(clip, clip.references)


def middle(image: Tensor) -> Tensor:
    """The part of an image (..., SIZE, SIZE) that is measured."""
    part = slice((SIZE - MEASURED) // 2, (SIZE + MEASURED) // 2)
    return image[..., part, part]


def bundled_scenes() -> list[AblationScene]:
    """The photographs `PICTURES`, which come with scikit-image, at all shifts."""
    scenes: list[AblationScene] = []
    for seed, name in enumerate(PICTURES):
        scenes += _in_motion(BUNDLED, name, lambda name=name: bundled_picture(name), seed)
    return scenes


def clip_scenes(folder: Path) -> list[AblationScene]:
    """Some frames of a clip at all shifts, and bursts of its own motion.

    Args:
        folder: consecutive pictures, in natural order.

    Raises:
        UserError: there are too few, they are too small, or cannot be read.
    """
    clip = open_clip(folder, NOISE["high"])  # only its clean pictures are used
    count = len(clip.paths)
    height, width = (2 * side for side in clip.size)
    if count < FRAMES or min(height, width) < SIZE:
        found = f"{count} pictures of {width}x{height}"
        raise UserError(f"{folder}: found {found}, expected at least {FRAMES} of {SIZE}x{SIZE}")
    names = [f"{folder.resolve().name}/{name}" for name in clip.frames]
    scenes: list[AblationScene] = []
    for number, index in enumerate(_spread(0, count - 1, CLIP_PICTURES)):
        path = clip.paths[index]
        scenes += _in_motion(CLIP, names[index], lambda path=path: read_picture(path), len(PICTURES) + number)
    top, left = (height - SIZE) // 4 * 2, (width - SIZE) // 4 * 2
    for index in _spread(FRAMES // 2, count - 1 - FRAMES // 2, CLIP_BURSTS):
        first = index - FRAMES // 2

        def frames(first: int = first) -> Tensor:
            pictures = [clip.picture(index) for index in range(first, first + FRAMES)]
            return torch.stack(pictures)[..., top : top + SIZE, left : left + SIZE]

        scenes.append(AblationScene(OWN_MOTION, names[index], None, frames, first + 1))
    return scenes


def _in_motion(group: str, name: str, read: Callable[[], np.ndarray], seed: int) -> Iterator[AblationScene]:
    """A picture at all shifts: the camera always takes the same walk, in longer or shorter steps."""
    for shift in SHIFTS:

        def frames(shift: int = shift) -> Tensor:
            return burst_from_picture(read(), FRAMES, (SIZE, SIZE), (shift, shift), seed=seed)[0]

        yield AblationScene(group, name, shift, frames)


def _spread(first: int, last: int, count: int) -> list[int]:
    """Up to `count` whole numbers from `first` to `last`, evenly spread."""
    return sorted({round(first + (last - first) * i / (count - 1)) for i in range(count)})
