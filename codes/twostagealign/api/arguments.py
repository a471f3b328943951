"""Checks of arguments. Their errors name the argument, and say what was found and what is expected."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from twostagealign.data import NoiseLevel
from twostagealign.data.burst import Levels


def check_levels(array: np.ndarray, black_level: float | Sequence[float], white_level: float | None) -> Levels | None:
    """Check the range of mosaics; black and white level of integers, None for floats; ValueError."""
    if array.dtype.kind not in "uif":
        raise ValueError(f"mosaics: found {array.dtype}, expected integers or floats")
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if white_level is not None or np.any(np.asarray(black_level) != 0):
            raise ValueError("black_level, white_level: given for floats; they are for integer mosaics")
        if not (low >= 0 and high <= 1):
            raise ValueError(f"mosaics: found floats from {low:g} to {high:g}, expected 0 to 1; clip or scale them")
        return None
    if low < 0 or high > 65535:
        raise ValueError(f"mosaics: found integers from {low} to {high}, expected 0 to 65535")
    if white_level is None:
        raise ValueError("white_level: missing; integer mosaics need it")
    try:
        black = np.broadcast_to(np.asarray(black_level, dtype=float), 4)
        white = float(white_level)
    except (TypeError, ValueError):
        raise ValueError("black_level, white_level: expected a number or four, and a number") from None
    if not (np.isfinite(black).all() and black.min() >= 0):
        raise ValueError(f"black_level: found {black_level}, expected 0 or more")
    if not black.max() < white <= 65535:
        raise ValueError(f"white_level: found {white:g}, expected more than the black level, at most 65535")
    red, green1, green2, blue = black.tolist()
    return Levels((red, green1, green2, blue), white)


def check_noise(noise: object) -> None:
    """Check that this is a noise level, of numbers that are possible; ValueError if not."""
    if not isinstance(noise, NoiseLevel):
        raise ValueError(f"noise: found {kind(noise)}, expected a NoiseLevel")
    if not (0 <= noise.shot <= 1 and 0 <= noise.read <= 1):
        raise ValueError(f"noise: found shot {noise.shot:g} and read {noise.read:g}, expected 0 to 1")


def stack(name: str, values: Any) -> np.ndarray:
    """Convert an array or tensor, or a list of them of one size, to an array; ValueError."""
    parts = values if isinstance(values, list | tuple) else [values]
    arrays = [part.detach().cpu().numpy() if isinstance(part, Tensor) else part for part in parts]
    if not all(isinstance(array, np.ndarray) for array in arrays) or len({array.shape for array in arrays}) != 1:
        raise ValueError(f"{name}: found {kind(values)}, expected an array, or a list of arrays of one size")
    return arrays[0] if parts is not values else np.stack(arrays)


def whole(name: str, value: object, least: int, most: int) -> int:
    """Check that an argument is an integer of this range; ValueError if not."""
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if not least <= number <= most or isinstance(value, bool):
        raise ValueError(f"{name}: found {value!r}, expected an integer from {least} to {most}")
    return number


def kind(value: object) -> str:
    """Name of the type of an argument, for errors."""
    return type(value).__name__
