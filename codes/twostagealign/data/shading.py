"""Lens shading: how much darker a lens makes the corners of a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class GainGrid:
    """Gains of one colour on a regular grid, bilinear between its points and constant beyond them.

    Attributes:
        gains: (rows, columns), floats.
        origin: position [y, x] of the first point, raw samples.
        spacing: distance [y, x] of neighbouring points, raw samples.
    """

    gains: np.ndarray
    origin: tuple[float, float]
    spacing: tuple[float, float]

    def at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Interpolate the gains at rows and columns, given in raw samples: (rows, columns), float64."""
        weights = (
            _hat_weights((positions - start) / step, count)
            for positions, start, step, count in zip(
                (rows, columns), self.origin, self.spacing, self.gains.shape, strict=True
            )
        )
        down, across = weights
        return down @ self.gains @ across.T


@dataclass(frozen=True)
class Shading:
    """Gains that undo the shading of a lens. A restored picture is multiplied by them.

    Restoration comes first: in the samples as the sensor recorded them, one noise model holds for all of the frame,
    and the corners' noise, which the gains amplify, has been removed by then.

    Attributes:
        grids: gains of red, green and blue; several grids of one colour are averaged.
    """

    grids: tuple[Sequence[GainGrid], Sequence[GainGrid], Sequence[GainGrid]]

    def gains(self, rows: range, columns: range) -> Tensor:
        """Compute gains for a part of the frame.

        Args:
            rows: rows, in samples of the extended mosaic.
            columns: columns, in samples of the extended mosaic.

        Returns:
            Gains of red, green and blue, (3, rows, columns), float32.
        """
        y, x = np.asarray(rows, dtype=float), np.asarray(columns, dtype=float)
        colours = [np.mean([grid.at(y, x) for grid in grids], axis=0) for grids in self.grids]
        return torch.from_numpy(np.stack(colours).astype(np.float32))


def _hat_weights(positions: np.ndarray, count: int) -> np.ndarray:
    """Weights of bilinear interpolation between `count` points at 0, 1, ..., (positions, points)."""
    positions = positions.clip(0, count - 1)
    return (1 - np.abs(positions[:, None] - np.arange(count))).clip(0)
