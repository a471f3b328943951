"""White balance from the chromaticity of the light and the colour matrices of a DNG.

Source: Adobe, "Digital Negative (DNG) Specification", version 1.7, chapter 6, "Mapping Camera Color Space to CIE XYZ
Space".
"""

from collections.abc import Mapping

import numpy as np

ILLUMINANTS: Mapping[int, float] = {
    1: 5500, 2: 4150, 3: 2850, 4: 5500, 9: 5500, 10: 6500, 11: 7500, 12: 6400, 13: 5050, 14: 4150, 15: 3525,
    17: 2850, 18: 5500, 19: 6500, 20: 5500, 21: 6500, 22: 7500, 23: 5000, 24: 3200,
}  # fmt: skip
"""Colour temperature, kelvin, of each light source of EXIF that has one."""


def neutral_of_white(matrices: Mapping[float, np.ndarray], white: tuple[float, float]) -> np.ndarray:
    """Compute the camera RGB of a neutral object from the chromaticity of the light.

    Args:
        matrices: XYZ -> camera RGB, (3, 3), for each colour temperature that the camera was measured at, kelvin.
        white: CIE 1931 chromaticity x, y of the light; y is positive.

    Returns:
        Camera RGB, (3,), green is 1.

    Raises:
        ValueError: the camera does not see all colours in that light.
    """
    camera = _interpolate(matrices, temperature(white)) @ _xyz(white)
    if not (camera.min() > 0):
        raise ValueError("the camera sees no neutral colour in this light")
    return camera / camera[1]


def temperature(white: tuple[float, float]) -> float:
    """Return the correlated colour temperature, kelvin, of a chromaticity.

    Source: McCamy, "Correlated color temperature as an explicit function of chromaticity coordinates", 1992.

    Example:
        >>> round(temperature((0.3127, 0.3290)), -2)  # D65
        6500.0
    """
    x, y = white
    n = (x - 0.3320) / min(0.1858 - y, -1e-3)
    return float(np.clip(449 * n**3 + 3525 * n**2 + 6823.3 * n + 5520.33, 1000, 40000))


def _interpolate(matrices: Mapping[float, np.ndarray], kelvin: float) -> np.ndarray:
    """Matrix at a colour temperature, linear in its inverse between the coolest and the warmest."""
    known = sorted(matrices)
    if len(known) == 1:
        return matrices[known[0]]
    low, high = known[0], known[-1]
    weight = np.clip((1 / kelvin - 1 / high) / (1 / low - 1 / high), 0, 1)
    return weight * matrices[low] + (1 - weight) * matrices[high]


def _xyz(white: tuple[float, float]) -> np.ndarray:
    x, y = white
    return np.array([x / y, 1.0, (1 - x - y) / y])
