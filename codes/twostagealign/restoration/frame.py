"""Restoration of whole frames, tile by tile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.data.burst import Burst, RawFrame
from twostagealign.matching.block_matching import refine_beyond
from twostagealign.models import TwoStageRestorer, grey
from twostagealign.restoration.tile_network import restore_tiles, tiles_at_once
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.stopwatch import Stopwatch


@dataclass(frozen=True)
class Matches:
    """Where the patches of a reference frame were found, and how long its restoration took.

    Attributes:
        origins: top-left corner [y, x] of every patch in the reference frame, raw pixels, (P, 2).
        shifts: displacement [y, x] of every patch's match in every frame, raw pixels, (P, N, 2).
        seconds: time spent on "matching", "network" and "stitching".
    """

    origins: Tensor
    shifts: Tensor
    seconds: dict[str, float]


@dataclass(frozen=True)
class RestoredFrame(Matches):
    """A restored reference frame.

    Attributes:
        image: linear camera RGB, (3, 2H, 2W), on the CPU.
    """

    image: Tensor


def restore_frame(
    restorer: TwoStageRestorer,
    burst: Burst,
    tiling: Tiling,
    progress: Callable[[int], object] = lambda tiles: None,
) -> RestoredFrame:
    """Restore the reference frame of one burst of any size.

    Args:
        restorer: in evaluation mode, on the device to work on.
        burst: N frames of H x W raw planes. Integer planes are decoded, and noise maps computed, tile by tile.
        tiling: sizes.
        progress: called with the number of patches just finished.

    Returns:
        The picture and where its tiles were found.
    """
    strips: list[Tensor] = []
    matches = restore_strips(restorer, burst, tiling, strips.append, progress)
    return RestoredFrame(matches.origins, matches.shifts, matches.seconds, torch.cat(strips, dim=1))


@torch.inference_mode()
def restore_strips(
    restorer: TwoStageRestorer,
    burst: Burst,
    tiling: Tiling,
    take: Callable[[Tensor], object],
    progress: Callable[[int], object] = lambda tiles: None,
) -> Matches:
    """Restore the reference frame of one burst of any size, strip by strip.

    The frame is padded with zeros at the bottom and right to whole patches and by the halo all round; each patch with
    its halo is matched. A restorer that refines its matches gets tiles that repeat the border of a frame instead, and
    they may be found beyond it. Tiles of one or more patches are restored, their halo is cut, and they are put
    together. Only a batch of tiles passes through the network at a time, and no frame is copied: what grows with the
    frame is the burst, and a strip of the picture is as high as a tile.

    Args:
        restorer: as for `restore_frame`.
        burst: as for `restore_frame`.
        tiling: sizes.
        take: called with one strip of the picture after the other, from top to bottom: linear camera RGB, (3, h, 2W),
            on the CPU.
        progress: called with the number of patches just finished.

    Returns:
        Where the tiles were found.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """
    device = next(restorer.parameters()).device
    side = tiling.patch * tiling.group + 2 * tiling.halo
    batch = tiling.batch or tiles_at_once(restorer.network, len(burst.frames), side, side, device)
    dtype = next(restorer.network.parameters()).dtype
    watch = Stopwatch(device)
    height, width = burst.size
    patch, halo, overlap = tiling.patch, tiling.halo, tiling.overlap
    frames = [frame.to(device) for frame in burst.frames]

    rows, columns = torch.arange(0, height, patch), torch.arange(0, width, patch)
    origins = torch.cartesian_prod(rows, columns).to(device)
    with watch("matching"):
        positions = _match(restorer, frames, origins, tiling)

    grid = (positions - halo).unflatten(0, (len(rows), len(columns))).tolist()
    down_blocks, across_blocks = (_blocks(len(axis), tiling.group) for axis in (rows, columns))
    trimmed = 2 * (halo - overlap)
    # The canvas has room for a row of tiles and what they keep of their halos; `below` is what the row above keeps of
    # them. Where neighbours overlap, their fades add up to 1, but at the ends, where a tile has no neighbour.
    weights_y, weights_x = (_laid_out(blocks, patch, overlap).to(device) for blocks in (down_blocks, across_blocks))
    below = torch.zeros(3, 4 * overlap, len(weights_x), device=device)
    for down in down_blocks:
        fade_y = _fade(2 * (len(down) * patch + 2 * overlap), 4 * overlap).to(device)
        canvas = torch.zeros(3, len(fade_y), len(weights_x), device=device)
        canvas[:, : 4 * overlap] = below
        for count_x, alike in groupby(across_blocks, len):
            fade_x = _fade(2 * (count_x * patch + 2 * overlap), 4 * overlap).to(device)
            while some := list(islice(alike, batch)):
                with watch("network"):
                    places = [[[grid[i][j] for j in across] for i in down] for across in some]
                    cut = [_cut(frames, tile, patch, halo, dtype, restorer.refine) for tile in places]
                    tiles = restore_tiles(restorer.network, *torch.stack(cut, dim=1))
                with watch("stitching"):
                    tiles = tiles[..., trimmed : trimmed + len(fade_y), trimmed : trimmed + len(fade_x)].float()
                    for tile, across in zip(tiles, some, strict=True):
                        x = 2 * across.start * patch
                        canvas[:, :, x : x + len(fade_x)] += tile * fade_y[:, None] * fade_x
                progress(len(some) * len(down) * count_x)
        with watch("stitching"):
            top = 2 * down.start * patch
            # The last row of tiles is finished to its end.
            finished = 2 * len(down) * patch if down.stop < len(rows) else len(fade_y)
            below = canvas[:, finished:].clone()
            strip = canvas[:, :finished].div_(weights_y[top : top + finished, None]).div_(weights_x)
            inside = strip[:, max(2 * overlap - top, 0) : 2 * overlap + 2 * height - top]
            take(inside[:, :, 2 * overlap : 2 * overlap + 2 * width].cpu())
    return Matches(origins.cpu(), (positions - origins[:, None]).cpu(), watch.seconds)


def _match(
    restorer: TwoStageRestorer,
    frames: Sequence[RawFrame],
    origins: Tensor,
    tiling: Tiling,
) -> Tensor:
    """Find the patches at `origins` (P, 2) of the reference frame in all N frames, (P, N, 2), raw pixels."""
    if not tiling.block_matching:
        return origins[:, None].expand(-1, len(frames), -1)
    height, width = frames[0].planes.shape[-2:]
    patch, halo = tiling.patch, tiling.halo
    border = (halo, halo + -width % patch, halo, halo + -height % patch)
    feature_maps, grey_planes = [], []
    for frame in frames:
        planes = frame.raw()
        feature_maps.append(restorer.features(F.pad(planes, border)))
        if restorer.refine:
            grey_planes.append(grey(planes))
    positions = restorer.match(
        torch.stack(feature_maps)[None], origins[None], patch + 2 * halo, tiling.search_window, tiling.inclusive_search
    )
    if restorer.refine:
        places = (planes - halo for planes in (origins[None], positions))
        positions = halo + refine_beyond(torch.stack(grey_planes)[None], *places, patch + 2 * halo)
    return positions[0]


def _blocks(count: int, group: int) -> list[range]:
    """Divide `count` patches along one axis into tiles; the last one may be smaller."""
    return [range(start, min(start + group, count)) for start in range(0, count, group)]


def _cut(
    frames: Sequence[RawFrame],
    places: Sequence[Sequence[list[list[int]]]],
    patch: int,
    halo: int,
    dtype: torch.dtype,
    repeat: bool,
) -> Tensor:
    """Cut a tile and its noise map from N frames, each patch, with the halo beside it, from its own places.

    Args:
        frames: to cut from.
        places: top-left corners [y, x] with halo in every frame, of the patches, row by row.
        patch: side of a patch.
        halo: of the tile.
        dtype: of the tile.
        repeat: whether a tile repeats the border of the frame beyond it; it is 0 there otherwise.

    Returns:
        Raw planes and noise map, (2, N, 4, height, width).
    """
    borders = [_borders(count, patch, halo) for count in (len(places), len(places[0]))]
    sides = [axis[-1][1] for axis in borders]
    tile = torch.zeros(2, len(frames), 4, *sides, dtype=dtype, device=frames[0].planes.device)
    for i, (top, bottom) in enumerate(borders[0]):
        for j, (left, right) in enumerate(borders[1]):
            for square, frame, (y, x) in zip(tile.unbind(1), frames, places[i][j], strict=True):
                # From here on in this frame: pixel 0 of the tile, as this patch sees it.
                y, x = y - i * patch, x - j * patch
                rows = slice(max(y + top, 0), max(y + bottom, 0))
                columns = slice(max(x + left, 0), max(x + right, 0))
                inside = torch.stack(frame.read(rows, columns))
                part = square[..., top:bottom, left:right]
                above, before = max(-y - top, 0), max(-x - left, 0)
                if repeat and inside.numel():
                    below, after = (
                        side - start - found
                        for side, start, found in zip(part.shape[2:], (above, before), inside.shape[2:], strict=True)
                    )
                    inside = F.pad(inside, (before, after, above, below), mode="replicate")
                    above = before = 0
                part[..., above : above + inside.shape[2], before : before + inside.shape[3]] = inside
    return tile


def _borders(count: int, patch: int, halo: int) -> list[tuple[int, int]]:
    """Where each patch's part of a tile begins and ends along one axis: the outer ones have the halo."""
    inner = [halo + i * patch for i in range(1, count)]
    return list(pairwise([0, *inner, count * patch + 2 * halo]))


def _fade(length: int, ramp: int) -> Tensor:
    """Weights of a tile's pixels along one axis: 1, but for linear ramps at both ends."""
    rise = (torch.arange(length) + 0.5) / max(ramp, 0.5)
    return torch.minimum(rise, rise.flip(0)).clamp_max(1)


def _laid_out(blocks: Sequence[range], patch: int, overlap: int) -> Tensor:
    """Sum of the weights of all tiles along one axis."""
    total = torch.zeros(2 * (blocks[-1].stop * patch + 2 * overlap))
    for block in blocks:
        fade = _fade(2 * (len(block) * patch + 2 * overlap), 4 * overlap)
        total[2 * block.start * patch :][: len(fade)] += fade
    return total
