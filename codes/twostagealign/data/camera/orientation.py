"""Orientation of raw files."""

import numpy as np


def upright(picture: np.ndarray, turned: int) -> np.ndarray:
    """Turn a picture upright, as its raw file says. The result is a view of the picture.

    Args:
        picture: (H, W) or (H, W, 3).
        turned: LibRaw's sum of 1 (mirror columns), 2 (mirror rows) and, after these, 4 (exchange rows and columns).
    """
    picture = picture[:: -1 if turned & 2 else 1, :: -1 if turned & 1 else 1]
    return picture.swapaxes(0, 1) if turned & 4 else picture
