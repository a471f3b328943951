"""Examples: noisy bursts of the photographs that come with scikit-image, seen by a camera that moves over them."""

import numpy as np

from twostagealign.data.burst import NoiseLevel
from twostagealign.data.clips.clip import ClipInMemory
from twostagealign.data.pictures import bundled_picture
from twostagealign.data.stills.motion import burst_from_picture

EXAMPLE_FRAMES = 5
EXAMPLE_SIZE = (384, 512)
"""Height and width of the frames, RGB pixels, even; less if the photograph is smaller."""
EXAMPLE_SPEED = (16.0, 24.0)
"""Smallest and largest motion from frame to frame, raw pixels; the default search window reaches 24."""


def example_clip(name: str, noise: NoiseLevel, seed: int = 0) -> tuple[ClipInMemory, np.ndarray]:
    """Make an example.

    Args:
        name: name of the photograph, one of `pictures.BUNDLED`.
        noise: noise level that the frames are given.
        seed: seed of the camera's walk over the photograph, 0 or more.

    Returns:
        The clip, and the true motion of its frames: (N, 2) [y, x] in raw pixels.

    Raises:
        UserError: there is no such photograph.
    """
    photograph = bundled_picture(name)
    height, width = (min(most, side // 2 * 2) for most, side in zip(EXAMPLE_SIZE, photograph.shape[:2], strict=True))
    pictures, shifts = burst_from_picture(photograph, EXAMPLE_FRAMES, (height, width), EXAMPLE_SPEED, seed=seed)
    return ClipInMemory(name, pictures, noise), shifts
