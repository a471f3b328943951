"""Tiles cut from the frames of a burst, each patch from where it was found."""

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import groupby, islice

import torch
from torch import Tensor

from twostagealign.data.burst import RawFrame
from twostagealign.merging import UNKNOWN, equalise_noise


class Border(Enum):
    """How tiles continue beyond the border of a frame.

    Attributes:
        ZERO: by zeros, noise included.
        REPEATED: they repeat the border, and are zero in patches that were found wholly outside.
        UNKNOWN: they repeat the border; in the neighbours, their noise says that it is unknown (`merging.UNKNOWN`).
    """

    ZERO = "zero"
    REPEATED = "repeated"
    UNKNOWN = "unknown"


def cut_tiles(
    frames: Sequence[RawFrame],
    positions: Tensor,
    patch: int,
    halo: int,
    border: Border,
    dtype: torch.dtype,
    rows: range,
    tiles: Sequence[range],
) -> Tensor:
    """Cut tiles, rectangles of patches with a halo around them, each patch from where it was found.

    It takes a few operations per frame, however many patches there are: a GPU would wait for the launches of more.

    Args:
        frames: the N frames.
        positions: top-left corner [y, x] of every patch in every frame, raw pixels, (rows, columns, N, 2), on the
            device of the frames.
        patch: side of a patch, raw pixels.
        halo: width of the halo, raw pixels.
        border: how tiles continue beyond the border of a frame.
        dtype: dtype of the tiles.
        rows: rows of the patches of all tiles.
        tiles: columns of the patches of each of the B tiles, equally many.

    Returns:
        Raw planes and noise maps, (2, B, N, 4, height, width). Frames of different exposure have been brought to one
        noise.
    """
    corners = torch.stack([positions[rows.start : rows.stop, columns.start : columns.stop] for columns in tiles])
    down, across = (_Lines(count, patch, halo, corners.device) for count in (len(rows), len(tiles[0])))
    cut = corners.new_zeros(2, len(tiles), len(frames), 4, len(down.patch), len(across.patch), dtype=dtype)
    for number, frame in enumerate(frames):
        height, width = frame.planes.shape[-2:]
        corner_y, corner_x = corners[..., number, :].unbind(-1)  # (B, rows, columns) each
        y = down.spread(corner_y, 1) + down.distance[:, None]
        x = across.spread(corner_x, 2) + across.distance
        y, x = across.spread(y, 2), down.spread(x, 1)
        known_y, known_x = y.clamp(0, height - 1), x.clamp(0, width - 1)
        inside = (y == known_y) & (x == known_x)
        samples = torch.stack(frame.at(known_y.flatten(0, 1), known_x.flatten(0, 1)).read())
        samples = samples.unflatten(2, inside.shape[:2])
        if border == Border.ZERO:
            samples.masked_fill_(~inside, 0)
        elif border == Border.REPEATED:
            # A patch that was found wholly outside has no border to repeat.
            overlaps = down.overlaps(corner_y, 1, height) & across.overlaps(corner_x, 2, width)
            samples.masked_fill_(~across.spread(down.spread(overlaps, 1), 2), 0)
        elif number != len(frames) // 2:
            samples[1].masked_fill_(~inside, UNKNOWN)
        cut[:, :, number] = samples.movedim(1, 2)
    if any(frame.gain != 1 for frame in frames):
        # Networks are trained with frames of equal noise, and average others badly.
        for tile in cut.unbind(1):
            samples, noise = tile
            tile.copy_(torch.stack(equalise_noise(samples, noise)))
    return cut


class _Lines:
    """The lines of a tile along one axis.

    Attributes:
        patch: number of the patch that each line belongs to; the outer patches have the halo.
        distance: distance of each line from the corner of its patch.
    """

    def __init__(self, patches: int, size: int, halo: int, device: torch.device) -> None:
        line = torch.arange(patches * size + 2 * halo, device=device) - halo
        self.patch = (line // size).clamp(0, patches - 1)
        self.distance = line - size * self.patch
        number = torch.arange(patches, device=device)
        self._first = -halo * (number == 0)
        self._last = size - 1 + halo * (number == patches - 1)

    def spread(self, values: Tensor, axis: int) -> Tensor:
        """Give every line the value of its patch."""
        return values.index_select(axis, self.patch)

    def overlaps(self, corners: Tensor, axis: int, length: int) -> Tensor:
        """Whether the part of the tile that belongs to a patch overlaps a frame of a length, along the axis."""
        shape = [-1 if dim == axis else 1 for dim in range(corners.dim())]
        return (corners + self._first.view(shape) < length) & (corners + self._last.view(shape) >= 0)


def batches(tiles: Sequence[range], count: int) -> Iterator[list[range]]:
    """Divide a row of tiles, given by their columns of patches, into batches of up to `count` tiles of one width."""
    for _, alike in groupby(tiles, len):
        while batch := list(islice(alike, count)):
            yield batch
