"""Plans of bursts made from still pictures: everything that is drawn at random, before any pixel is computed."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from twostagealign.data.stills.motion import Motion

LUMA = np.array([0.2989, 0.5870, 0.1140])  # of R, G, B (ITU-R BT.601)


@dataclass(frozen=True)
class MovingView:
    """A camera that moves over a downscaled, turned and mirrored picture.

    Attributes:
        picture: index of the picture.
        scale: factor of downscaling, within (0, 1].
        quarter_turns: number of turns of the picture by 90 degrees, counterclockwise.
        mirrored: whether left and right are exchanged, after turning.
        place: (2,) [y, x] in [0, 1]: place within the range of possible places.
        motion: motion of the camera.
    """

    picture: int
    scale: float
    quarter_turns: int
    mirrored: bool
    place: np.ndarray
    motion: Motion

    def turn(self, picture: np.ndarray) -> np.ndarray:
        """Return a view of the picture, turned and mirrored."""
        turned = np.rot90(picture, self.quarter_turns)
        return turned[:, ::-1] if self.mirrored else turned

    def turn_back(self, picture: np.ndarray) -> np.ndarray:
        """Undo `turn`."""
        return np.rot90(picture[:, ::-1] if self.mirrored else picture, -self.quarter_turns)

    def downscaled(self, length: int) -> int:
        """Return the side of a picture, or of a part of it, after downscaling."""
        return max(1, round(length * self.scale))

    def spans(
        self, sides: tuple[int, int], size: tuple[int, int], seen: tuple[np.ndarray, np.ndarray]
    ) -> list[tuple[slice, int]]:
        """Choose where in the turned picture the burst is taken, with as little mirrored border as possible.

        Args:
            sides: height and width of the turned picture before downscaling.
            size: height and width of a frame.
            seen: area that the frames see, from `footprint`.

        Returns:
            For rows and columns: the part of the picture to use, and where the reference frame begins in this part once
            it is downscaled.
        """
        low, high = (edge.tolist() for edge in seen)
        return [self._span(*axis) for axis in zip(sides, size, low, high, self.place.tolist(), strict=True)]

    def _span(self, length: int, size: int, low: int, high: int, place: float) -> tuple[slice, int]:
        available = self.downscaled(length)
        first, last = sorted((-low, available - high))
        least, most = sorted((0, available - size))
        start = min(max(round(first + place * (last - first)), least), most)
        begin = max(0, math.floor((start + low) / self.scale))
        end = min(length, math.ceil((start + high) / self.scale))
        return slice(begin, end), start - round(begin * self.scale)


@dataclass(frozen=True)
class Foreground:
    """A piece of another picture that moves across the frames.

    It lies in a square window that follows it by whole pixels, so that only a part of each frame is computed.

    Attributes:
        scene: its texture, and its motion within the window.
        corners: (N, 2) [y, x] of the window's first pixel in each frame, RGB pixels.
        opacity: (side, side) float32 in [0, 1], in the window of the reference frame.
    """

    scene: MovingView
    corners: np.ndarray
    opacity: np.ndarray


@dataclass(frozen=True)
class BurstPlan:
    """What is random about one burst: background, moving piece in front, and matrix (3, 3) of all colours."""

    scene: MovingView
    foreground: Foreground | None
    colours: np.ndarray | None


def random_colours(rng: np.random.Generator) -> np.ndarray:
    """Draw a matrix (3, 3) that permutes the channels of sRGB and scales the saturation by 0.5 to 2."""
    saturation = 2 ** rng.uniform(-1, 1)
    matrix = saturation * np.eye(3) + (1 - saturation) * LUMA  # grey stays grey
    return matrix[:, rng.permutation(3)]


def random_blob(rng: np.random.Generator, side: int) -> np.ndarray:
    """Opacity of a random piece with a smooth edge: a polygon of 3 to 24 corners, float32 (side, side) in [0, 1]."""
    corners = int(rng.integers(3, 25))
    angle = 2 * math.pi * (np.arange(corners) + rng.uniform(-0.3, 0.3, corners)) / corners
    # It ends well inside the window, so that turning and magnifying do not cut it off.
    radius = side / 2 * rng.uniform(0.4, 0.8, 2) * rng.uniform(0.7, 1.0, (corners, 1))
    outline = side / 2 + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    blob = np.zeros((side, side), np.float32)
    cv2.fillPoly(blob, [np.round(outline).astype(np.int32)], 1.0)
    return cv2.GaussianBlur(blob, (0, 0), rng.uniform(0.7, 2.0))
