"""The canvas that restored tiles are laid on, one row of tiles after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from twostagealign.restoration.tiling import Tiling


class Canvas:
    """Blend restored tiles and give the picture strip by strip, from top to bottom.

    It has room for one row of tiles and what they keep of their halos. Neighbours that overlap fade into each other.

    Args:
        size: height and width of the raw planes.
        tiling: sizes of the tiles.
        device: device of the tiles.
    """

    def __init__(self, size: tuple[int, int], tiling: Tiling, device: torch.device) -> None:
        self.size = size
        self.patch = tiling.patch
        self.halo = tiling.halo
        self.overlap = tiling.overlap
        self.device = device
        self._rows, columns = (tiling.divide(length) for length in size)
        self._weights_y, self._weights_x = (self._axis_weights(tiles) for tiles in (self._rows, columns))
        self._strip = self._blank()

    def lay(self, tile: Tensor, rows: range, columns: range) -> None:
        """Add a tile, linear RGB with its halo, (3, height, width), of these rows and columns of patches."""
        fade_y, fade_x = self._fade(len(rows)), self._fade(len(columns))
        trimmed = 2 * (self.halo - self.overlap)
        tile = tile[:, trimmed : trimmed + len(fade_y), trimmed : trimmed + len(fade_x)].float()
        x = 2 * columns.start * self.patch
        self._strip[:, : len(fade_y), x : x + len(fade_x)] += tile * fade_y[:, None] * fade_x

    def take(self, rows: range) -> Tensor:
        """Take off the strip that a row of tiles finishes, linear RGB, (3, h, 2W), and go on to the next row."""
        height, width = self.size
        top, margin = 2 * rows.start * self.patch, 2 * self.overlap
        finished = 2 * len(rows) * self.patch
        if rows.stop == self._rows[-1].stop:
            finished += 2 * margin  # the last row of tiles has no neighbour to wait for
        strip, rest = self._strip[:, :finished], self._strip[:, finished : finished + 2 * margin]
        self._strip = self._blank()
        self._strip[:, : rest.shape[1]] = rest
        strip.div_(self._weights_y[top : top + finished, None]).div_(self._weights_x)
        return strip[:, max(margin - top, 0) : margin + 2 * height - top, margin : margin + 2 * width]

    def _blank(self) -> Tensor:
        height = 2 * (len(self._rows[0]) * self.patch + 2 * self.overlap)
        return torch.zeros(3, height, len(self._weights_x), device=self.device)

    def _fade(self, patches: int) -> Tensor:
        """Weights of a tile's pixels along one axis: 1, with linear ramps at both ends."""
        length = 2 * (patches * self.patch + 2 * self.overlap)
        rise = (torch.arange(length, device=self.device) + 0.5) / max(4 * self.overlap, 0.5)
        return torch.minimum(rise, rise.flip(0)).clamp_max(1)

    def _axis_weights(self, tiles: Sequence[range]) -> Tensor:
        """Sum of the weights of all tiles along one axis: 1, except at the ends, where a tile has no neighbour."""
        total = torch.zeros(2 * (tiles[-1].stop * self.patch + 2 * self.overlap), device=self.device)
        for patches in tiles:
            fade = self._fade(len(patches))
            total[2 * patches.start * self.patch :][: len(fade)] += fade
        return total
