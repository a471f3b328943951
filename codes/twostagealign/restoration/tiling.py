"""Sizes of the tiles that a frame is divided into."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Tiling:
    """How a frame is divided; all sizes in raw pixels.

    Attributes:
        patch: side of a patch, which is matched by itself; a multiple of 4.
        halo: what a tile sees beyond its border on each side, a multiple of 4.
        batch: tiles restored at once; bounds the memory. None: see `restoration.tile_network.tiles_at_once`.
        group: patches on each side of a tile, which is restored as a whole; above 1 they share its halo.
        overlap: what is kept of the halo on each side and blended with the neighbouring tile, against seams; a multiple
            of 4, at most the halo.

    Raises:
        ValueError: a size is out of range or not such a multiple.
    """

    patch: int = 64
    halo: int = 4
    batch: int | None = None
    group: int = 1
    overlap: int = 0

    def __post_init__(self) -> None:
        for name, most in (("patch", 4096), ("halo", 1024), ("batch", 4096), ("group", 256)):
            if (getattr(self, name) or 0) > most:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at most {most}")
        for name, least in (("patch", 4), ("halo", 0), ("overlap", 0)):
            value = getattr(self, name)
            if value < least or value % 4:
                raise ValueError(f"{name}: found {value}, expected a multiple of 4, at least {least}")
        if self.overlap > min(self.halo, self.patch // 2):
            most = min(self.halo, self.patch // 2)
            raise ValueError(f"overlap: found {self.overlap}, expected at most {most}, the halo and half the patch")
        for name in ("batch", "group"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: found {value}, expected at least 1")

    @property
    def side(self) -> int:
        """Side of a whole tile with its halo."""
        return self.patch * self.group + 2 * self.halo

    def divide(self, length: int) -> list[range]:
        """Numbers of the patches of each tile along a side of `length` raw pixels; the last tile may have fewer."""
        patches = math.ceil(length / self.patch)
        return [range(start, min(start + self.group, patches)) for start in range(0, patches, self.group)]


FAST = Tiling(patch=40, group=5, overlap=4)
"""Large tiles, of which the halo is a small part, of small patches, which follow the motion closely. The default of
`restore.py`: less time and better quality than with the sizes of the paper's protocol."""


def count_tiles(size: Sequence[int], tiling: Tiling) -> int:
    """Count the patches of a frame whose raw planes are `size` (height, width)."""
    return math.prod(math.ceil(side / tiling.patch) for side in size)
