"""A camera that moves over a picture: its walk, and the frames that it sees."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

RGB_PER_RAW = 2
"""RGB pixels per raw pixel, on each side."""


@dataclass(frozen=True)
class Motion:
    """How the frames of a burst move relative to the reference frame c = N // 2, whose own entries are 0, 0 and 1.

    Attributes:
        shift: (N, 2) [y, x] in raw pixels; what lies in the middle of the reference lies `shift` further in a frame.
        angle: (N,) turn of the view around that point, in radians.
        zoom: (N,) magnification of the view around that point.
    """

    shift: np.ndarray
    angle: np.ndarray
    zoom: np.ndarray


def hand_held_motion(
    rng: np.random.Generator, frames: int, speed: tuple[float, float], max_rotation: float = 0.0, max_zoom: float = 0.0
) -> Motion:
    """Draw the smooth random walk of a hand-held camera, relative to frame N // 2.

    Args:
        rng: source of randomness.
        frames: number of frames N.
        speed: lowest and highest length of the step from a frame to the next, in raw pixels.
        max_rotation: largest turn from a frame to the next, in degrees.
        max_zoom: largest relative change of magnification from a frame to the next.
    """
    steps = frames - 1
    # A hand keeps its direction for a while: the heading is itself a random walk, about 30 degrees a step.
    heading = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0, math.radians(30), steps))
    length = rng.uniform(*speed, steps)
    step = length[:, None] * np.stack([np.sin(heading), np.cos(heading)], axis=1)
    turn = np.radians(rng.uniform(-max_rotation, max_rotation, steps))
    growth = np.log1p(rng.uniform(-max_zoom, max_zoom, steps))

    def relative(change: np.ndarray) -> np.ndarray:
        path = np.concatenate([np.zeros_like(change, shape=(1, *change.shape[1:])), np.cumsum(change, axis=0)])
        return path - path[frames // 2]

    return Motion(relative(step), relative(turn), np.exp(relative(growth)))


def view_matrices(motion: Motion, corner: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
    """Compute the affine maps from frames to the picture that they look at.

    Args:
        motion: motion of the N frames.
        corner: [y, x] in the picture of the reference frame's first pixel.
        size: height and width of a frame in RGB pixels.

    Returns:
        (N, 2, 3) in OpenCV's order: picture (x, y) = matrix @ (x, y, 1) of the frame.
    """
    middle = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
    cos, sin = np.cos(motion.angle) / motion.zoom, np.sin(motion.angle) / motion.zoom
    turn = np.stack([np.stack([cos, -sin], axis=-1), np.stack([sin, cos], axis=-1)], axis=-2)
    seen_at = middle + RGB_PER_RAW * motion.shift[:, ::-1]
    offset = np.array(corner[::-1]) + middle - np.einsum("nij,nj->ni", turn, seen_at)
    return np.concatenate([turn, offset[:, :, None]], axis=2)


def footprint(motion: Motion, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Compute the part of the picture that the frames see, relative to the reference frame's first pixel.

    Args:
        motion: motion of the N frames.
        size: height and width of a frame in RGB pixels.

    Returns:
        Lowest and highest [y, x] (the highest exclusive), in whole RGB pixels.
    """
    height, width = size
    corners = np.array([[0, 0, 1], [width - 1, 0, 1], [0, height - 1, 1], [width - 1, height - 1, 1]]).T
    seen = (view_matrices(motion, (0, 0), size) @ corners)[:, ::-1]
    # Bicubic interpolation reads one pixel further down and two further up.
    return np.floor(seen.min(axis=(0, 2))).astype(int) - 1, np.ceil(seen.max(axis=(0, 2))).astype(int) + 3


def look(
    picture: np.ndarray,
    motion: Motion,
    corner: tuple[int, int],
    size: tuple[int, int],
    border: int = cv2.BORDER_REFLECT_101,
) -> np.ndarray:
    """Compute the frames of a camera that moves over a picture.

    Args:
        picture: (height, width, channels), or (height, width).
        motion: motion of the N frames.
        corner: [y, x] in the picture of the reference frame's first pixel.
        size: height and width of a frame in RGB pixels.
        border: OpenCV's border mode; by default the picture continues as its mirror image.

    Returns:
        (N, *size, channels), or (N, *size), of the picture's dtype. The reference frame is an exact crop.
    """
    # The reference moves by whole pixels: the nearest one is exact, and faster than bicubic interpolation.
    kinds = [cv2.INTER_CUBIC] * len(motion.shift)
    kinds[len(kinds) // 2] = cv2.INTER_NEAREST
    views = [
        cv2.warpAffine(picture, matrix, size[::-1], flags=kind | cv2.WARP_INVERSE_MAP, borderMode=border)
        for kind, matrix in zip(kinds, view_matrices(motion, corner, size), strict=True)
    ]
    return np.stack(views)


def burst_from_picture(
    picture: np.ndarray,
    frames: int = 5,
    size: tuple[int, int] = (320, 320),
    speed: tuple[float, float] = (16.0, 24.0),
    max_rotation: float = 0.0,
    max_zoom: float = 0.0,
    seed: int = 0,
) -> tuple[Tensor, np.ndarray]:
    """Make one clean burst out of a picture; the reference frame is cut from its middle.

    Args:
        picture: RGB, (height, width, 3) uint8.
        frames: number of frames N.
        size: height and width of a frame in RGB pixels, even.
        speed: lowest and highest length of the step from a frame to the next, in raw pixels (2 RGB pixels each).
        max_rotation: largest turn from a frame to the next, in degrees.
        max_zoom: largest relative change of magnification from a frame to the next.
        seed: seed of the walk.

    Returns:
        The frames, (N, 3, *size) uint8, and their true shifts, (N, 2) [y, x] in raw pixels: what lies at a position
        in the reference frame lies at position + shift in the frame.

    Raises:
        ValueError: a frame size is odd.
    """
    if size[0] % 2 or size[1] % 2:
        raise ValueError(f"size: found {tuple(size)}, expected an even height and width")
    motion = hand_held_motion(np.random.default_rng(seed), frames, speed, max_rotation, max_zoom)
    corner = ((picture.shape[0] - size[0]) // 2, (picture.shape[1] - size[1]) // 2)
    return to_tensor(look(picture, motion, corner, size)), motion.shift


def to_tensor(views: np.ndarray) -> Tensor:
    """Turn views (N, height, width, 3) into a tensor (N, 3, height, width) of the same type."""
    return torch.from_numpy(np.ascontiguousarray(views.transpose(0, 3, 1, 2)))
