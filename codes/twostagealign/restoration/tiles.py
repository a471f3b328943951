"""Tiles cut from the frames of a burst, each patch from where it was found."""

from collections.abc import Iterator, Sequence
from itertools import groupby, islice, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.data.burst import UNKNOWN, RawFrame


def cut_tile(
    frames: Sequence[RawFrame],
    positions: Tensor,
    patch: int,
    halo: int,
    repeat_border: bool,
    dtype: torch.dtype,
    rows: range,
    columns: range,
) -> Tensor:
    """Cut a tile, a rectangle of patches with a halo around it, each patch from where it was found.

    Args:
        frames: the N frames.
        positions: top-left corner [y, x] of every patch in every frame, raw pixels, (rows, columns, N, 2), on the CPU.
        patch: side of a patch, raw pixels.
        halo: width of the halo, raw pixels.
        repeat_border: whether tiles repeat the border of a frame beyond it; they are zero there otherwise.
        dtype: dtype of the tile.
        rows: rows of its patches.
        columns: columns of its patches.

    Returns:
        Raw planes and noise map, (2, N, 4, height, width). Frames of different exposure have been brought to one noise.
    """
    down, across = _parts(len(rows), patch, halo), _parts(len(columns), patch, halo)
    size = down[-1].stop, across[-1].stop
    tile = torch.zeros(2, len(frames), 4, *size, dtype=dtype, device=frames[0].planes.device)
    for row, part_y in zip(rows, down, strict=True):
        for column, part_x in zip(columns, across, strict=True):
            for number, (frame, (y, x)) in enumerate(zip(frames, positions[row, column].tolist(), strict=True)):
                # The patch's own corner -> where its part of the tile begins in the frame.
                y += part_y.start - (row - rows.start) * patch - halo
                x += part_x.start - (column - columns.start) * patch - halo
                _fill(tile[:, number, :, part_y, part_x], frame, y, x, repeat_border)
    if any(frame.gain != 1 for frame in frames):
        _equalise_noise(tile)
    return tile


def _equalise_noise(tile: Tensor) -> None:
    """Bring all frames of a tile, (2, N, 4, h, w), to one noise.

    Networks are trained with frames of equal noise, and average others badly. A noisier sample is blended with that of
    the reference frame until its own noise is only as strong as the reference frame's; an unknown one is replaced. The
    noise map then is that of frames whose average is as noisy as the average of these.
    """
    samples, noise = tile
    count, middle = len(samples), len(samples) // 2
    reference, expected = tile[:, middle].clone()
    weight = (expected / noise.clamp_min(torch.finfo(noise.dtype).tiny)).clamp_max(1)
    weight = weight.masked_fill(noise >= UNKNOWN, 0)
    weight[middle] = 1
    samples.copy_(reference + weight * (samples - reference))
    own = weight * noise
    own[middle] = (1 + (1 - weight).sum(dim=0)) * expected
    noise.copy_((own.square().sum(dim=0) / count).sqrt().expand_as(noise))


def _parts(count: int, patch: int, halo: int) -> list[slice]:
    """Each patch's part of a tile along one axis: the outer ones have the halo."""
    inner = [halo + i * patch for i in range(1, count)]
    return [slice(*ends) for ends in pairwise([0, *inner, count * patch + 2 * halo])]


def _fill(part: Tensor, frame: RawFrame, y: int, x: int, repeat_border: bool) -> None:
    """Fill a part of a tile, (2, 4, h, w), with what a frame has from its pixel [y, x] on."""
    height, width = part.shape[-2:]
    rows, columns = (slice(max(start, 0), max(start + side, 0)) for start, side in ((y, height), (x, width)))
    inside = torch.stack(frame.read(rows, columns))
    found_height, found_width = inside.shape[-2:]
    above, before = max(-y, 0), max(-x, 0)
    if repeat_border and inside.numel():
        below, after = height - above - found_height, width - before - found_width
        part.copy_(F.pad(inside, (before, after, above, below), mode="replicate"))
    else:
        part[..., above : above + found_height, before : before + found_width] = inside


def batches(tiles: Sequence[range], count: int) -> Iterator[list[range]]:
    """Divide a row of tiles, given by their columns of patches, into batches of up to `count` tiles of one width."""
    for _, alike in groupby(tiles, len):
        while batch := list(islice(alike, count)):
            yield batch
