"""Restoration of whole frames, tile by tile."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from twostagealign.archs.frames import check_frames
from twostagealign.data.burst import Burst, RawFrame
from twostagealign.matching import FrameMaps
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.canvas import Canvas
from twostagealign.restoration.frame_memory import FrameMemory
from twostagealign.restoration.tile_network import restore_tiles, tiles_at_once
from twostagealign.restoration.tiles import Border, batches, cut_tiles
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.memory import give_back_memory
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
    """Restore the reference frame of a burst.

    Args:
        restorer: the networks and the matcher, in evaluation mode, on the device to work on.
        burst: N frames of H x W raw planes, of any size. Integer planes are decoded, and noise maps computed, tile by
            tile.
        tiling: sizes of the tiles.
        progress: called with the number of patches just finished.
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
    begin_frame: Callable[[], object] = lambda: None,
    memory: FrameMemory | None = None,
) -> Matches:
    """Restore the reference frame of a burst strip by strip, and return where its patches were found.

    Patches are matched, each with its halo; tiles of one or more patches are restored and put together. Only one batch
    of tiles passes through the network at a time, and no frame is copied: memory that grows with the frame is the
    burst's, and a strip of the picture is as high as a tile.

    Args:
        restorer: as for `restore_frame`.
        burst: as for `restore_frame`.
        tiling: sizes of the tiles.
        take: called with one strip of the picture after the other, from top to bottom: linear camera RGB, (3, h, 2W),
            on the CPU.
        progress: called with the number of patches just finished.
        begin_frame: called before the patches are searched in each frame, and in the reference frame.
        memory: what is known of frames from bursts before; None: nothing, and nothing is kept.

    Raises:
        UserError: the network was made for another number of frames.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """
    check_frames(restorer.network, len(burst.frames))
    device = next(restorer.parameters()).device
    dtype = next(restorer.network.parameters()).dtype  # of raw values; that of convolutions may be lower
    known = memory or FrameMemory(keeps=False)
    frames = known.load(burst.frames, device)
    height, width = burst.size
    origins_y, origins_x = torch.arange(0, height, tiling.patch), torch.arange(0, width, tiling.patch)
    origins = torch.cartesian_prod(origins_y, origins_x).to(device)
    watch, sizes = Stopwatch(device), (tiling.patch, tiling.halo)

    def describe(frame: RawFrame) -> FrameMaps:
        begin_frame()
        return known.describe(frame, partial(restorer.describe, frame, *sizes))

    with watch("matching"):
        positions = restorer.matcher.locate([partial(describe, frame) for frame in frames], origins, *sizes)
    give_back_memory()  # what matching, and a burst before, have left: the network needs more

    grid = positions.unflatten(0, (len(origins_y), len(origins_x)))
    cut = partial(cut_tiles, frames, grid, *sizes, _border(restorer), dtype)
    canvas = Canvas((height, width), tiling, device)
    batch = tiling.batch or tiles_at_once(restorer.network, len(frames), tiling.side, tiling.side, device)
    done = 0  # rows of the picture
    for rows in tiling.divide(height):
        for some in batches(tiling.divide(width), batch):
            with watch("network"), restorer.precision():
                restored = restore_tiles(restorer.network, *cut(rows, some))
            with watch("stitching"):
                for tile, columns in zip(restored, some, strict=True):
                    canvas.lay(tile, rows, columns)
            progress(len(rows) * sum(map(len, some)))
        with watch("stitching"):
            strip = canvas.take(rows).cpu()
            if burst.shading is not None:
                strip *= burst.shading.gains(range(done, done + strip.shape[1]), range(2 * width))
            done += strip.shape[1]
            take(strip)
    return Matches(origins.cpu(), (positions - origins[:, None]).cpu(), watch.seconds)


def _border(restorer: TwoStageRestorer) -> Border:
    """How the tiles of a network continue beyond the border of a frame."""
    if getattr(restorer.network, "merge", False):
        return Border.UNKNOWN
    return Border.REPEATED if restorer.matcher.repeats_border else Border.ZERO
