"""The level at which a sensor saturates, found from the samples."""

import numpy as np

_LEAST_SHARE, _LEAST_SAMPLES = 1e-4, 50  # of the samples, that are saturated; hot pixels are fewer
_WIDTH = 0.0025  # of a pile of saturated samples, as a share of the range of levels
_BELOW = 4  # widths below the pile that are compared with it
_CONTRAST = 2  # samples in the pile for each one below and above it


def find_saturation(counts: np.ndarray, black: float, white: float) -> float | None:
    """Find the level at which samples pile up, below the stated white level.

    Saturated samples all have about one level, whatever light they saw. Other samples, with their noise, become fewer
    and fewer towards the brightest one.

    Args:
        counts: number of samples of each level, (levels,).
        black: black level.
        white: stated white level.

    Returns:
        The level, above the middle of the range; None if samples pile up at the white level or nowhere.

    Example:
        >>> counts = np.zeros(1024, int)
        >>> counts[100:900], counts[900] = 10, 1000
        >>> find_saturation(counts, 64, 1023)
        900.0
    """
    total = counts.sum()
    above = np.cumsum(counts[::-1])[::-1]
    enough = np.flatnonzero(above >= max(total * _LEAST_SHARE, _LEAST_SAMPLES))
    if not len(enough):
        return None
    top = int(enough[-1])
    width = max(1, round((white - black) * _WIDTH))
    if not (black + white) / 2 < top < white - width:
        return None
    start = top - width
    pile = counts[start : top + width + 1]
    below, beyond = counts[max(start - _BELOW * width, 0) : start].sum(), counts[top + width + 1 :].sum()
    if pile.sum() < _CONTRAST * (below + beyond):
        return None
    # Clipped areas are neutral only if nearly all of their samples reach the level.
    reached = np.cumsum(pile)
    return float(start + np.searchsorted(reached, 0.02 * reached[-1]))
