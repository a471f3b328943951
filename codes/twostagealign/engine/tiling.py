"""Restoration of whole frames, tile by tile."""

import math
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.engine.stopwatch import Stopwatch
from twostagealign.errors import UserError
from twostagealign.models import TwoStageRestorer


@dataclass(frozen=True)
class Tiling:
    """How a frame is divided; all sizes in raw pixels.

    Attributes:
        patch: side of the tiles that make up the picture, a multiple of 4.
        halo: what a tile sees beyond its border on each side, a multiple of 4.
        search_window: width of the window that a patch is searched in from frame to frame, a multiple of 16: then the
            place that the search starts from is itself searched.
        batch: tiles that are restored at once; bounds the memory.
        overlap: what is kept of the halo on each side and blended with the neighbouring tile, against seams; a multiple
            of 4, at most the halo.
        block_matching: False leaves stage one out: every patch stays where it is in the reference frame.
        inclusive_search: False leaves out the last row and column of the candidate positions, as the released code
            does.

    Raises:
        ValueError: a size is out of range or no such multiple.
    """

    patch: int = 64
    halo: int = 4
    search_window: int = 48
    batch: int = 4
    overlap: int = 0
    block_matching: bool = True
    inclusive_search: bool = True

    def __post_init__(self) -> None:
        for name, least, unit in (("patch", 4, 4), ("halo", 0, 4), ("search_window", 16, 16), ("overlap", 0, 4)):
            value = getattr(self, name)
            if value < least or value % unit:
                raise ValueError(f"{name}: found {value}, expected a multiple of {unit}, at least {least}")
        if self.overlap > min(self.halo, self.patch // 2):
            most = min(self.halo, self.patch // 2)
            raise ValueError(f"overlap: found {self.overlap}, expected at most {most}, the halo and half the patch")
        if self.batch < 1:
            raise ValueError(f"batch: found {self.batch}, expected at least 1")


def add_tiling_arguments(parser: ArgumentParser) -> None:
    """Give a command line an option for every field of `Tiling`."""
    for field in fields(Tiling):
        flag = field.name.replace("_", "-")
        if field.type is bool:
            parser.add_argument(f"--no-{flag}", dest=field.name, action="store_false", help=_MEANING[field.name])
        else:
            text = f"{_MEANING[field.name]} (default: %(default)s)"
            parser.add_argument(f"--{flag}", dest=field.name, type=int, default=field.default, metavar="N", help=text)


_MEANING = {
    "patch": "side of a tile, raw pixels",
    "halo": "what a tile sees beyond its border, raw pixels",
    "search_window": "width of the window a patch is searched in from frame to frame, raw pixels",
    "batch": "tiles restored at once",
    "overlap": "part of the halo that is blended with the next tile, raw pixels",
    "block_matching": "leave stage one out",
    "inclusive_search": "leave out the last row and column of candidate positions, as the released code does",
}


def pop_tiling(options: dict[str, Any]) -> Tiling:
    """Take the options that `add_tiling_arguments` made out of `options`.

    Raises:
        UserError: a size is out of range.
    """
    try:
        return Tiling(**{field.name: options.pop(field.name) for field in fields(Tiling)})
    except ValueError as error:
        name, _, problem = str(error).partition(":")
        raise UserError(f"--{name.replace('_', '-')}:{problem}") from error


@dataclass(frozen=True)
class RestoredFrame:
    """A restored reference frame.

    Attributes:
        image: linear camera RGB, (3, 2H, 2W), on the CPU.
        origins: top-left corner [y, x] of every tile in the reference frame, raw pixels, (P, 2).
        shifts: displacement [y, x] of every tile's match in every frame, raw pixels, (P, N, 2).
        seconds: time spent on "matching", "network" and "stitching".
    """

    image: Tensor
    origins: Tensor
    shifts: Tensor
    seconds: dict[str, float]


def count_tiles(size: Sequence[int], tiling: Tiling) -> int:
    """Number of tiles of a frame whose raw planes are `size` (height, width)."""
    return math.prod(math.ceil(side / tiling.patch) for side in size)


@torch.inference_mode()
def restore_frame(
    restorer: TwoStageRestorer,
    lq: Sequence[Tensor],
    noise_map: Iterable[Tensor],
    tiling: Tiling,
    progress: Callable[[int], object] = lambda tiles: None,
) -> RestoredFrame:
    """Restore the reference frame of one burst of any size.

    The frame is padded with zeros at the bottom and right to whole tiles and by the halo all round; each tile with
    its halo is matched and restored, the halo is cut and the tiles are put together. Only `tiling.batch` tiles pass
    through the network at a time.

    Args:
        restorer: in evaluation mode, on the device to work on.
        lq: noisy raw planes of N frames, (4, H, W) each, or all in one tensor, (N, 4, H, W).
        noise_map: of the same shape. A list or a generator saves the memory of one more copy.
        tiling: sizes.
        progress: called with the number of tiles just finished.

    Returns:
        The picture and where its tiles were found.

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """
    device = next(restorer.parameters()).device
    watch = Stopwatch(device)
    height, width = lq[0].shape[-2:]
    patch, halo, overlap = tiling.patch, tiling.halo, tiling.overlap
    border = (halo, halo + -width % patch, halo, halo + -height % patch)
    lq, noise_map = (torch.stack([F.pad(x.to(device), border) for x in frames])[None] for frames in (lq, noise_map))

    rows, columns = torch.arange(0, height, patch), torch.arange(0, width, patch)
    origins = torch.cartesian_prod(rows, columns).to(device)
    side = patch + 2 * halo
    with watch("matching"):
        if tiling.block_matching:
            feature_maps = torch.stack([restorer.features(frame) for frame in lq[0]])[None]
            args = (origins[None], side, tiling.search_window, tiling.inclusive_search)
            positions = restorer.match(feature_maps, *args)
        else:
            positions = origins[None, :, None].expand(-1, -1, lq.shape[1], -1)

    # The canvas has room for whole tiles and what they keep of their halos. Where neighbours overlap, their fades add
    # up to 1.
    kept, cut = 2 * (patch + 2 * overlap), 2 * (halo - overlap)
    fade = _fade(kept, 4 * overlap)
    canvas = torch.zeros(3, *(2 * (len(axis) * patch + 2 * overlap) for axis in (rows, columns)))
    for some, corners in zip(positions.split(tiling.batch, 1), origins.split(tiling.batch), strict=True):
        with watch("network"):
            tiles = restorer.restore(lq, noise_map, some, side)
        with watch("stitching"):
            tiles = tiles[..., cut : cut + kept, cut : cut + kept].float().cpu()
            for tile, (y, x) in zip(tiles, corners.tolist(), strict=True):
                canvas[:, 2 * y : 2 * y + kept, 2 * x : 2 * x + kept] += tile * fade * fade[:, None]
        progress(len(corners))
    with watch("stitching"):
        # 1 but at the ends, where a tile has no neighbour.
        canvas /= _laid_out(fade, 2 * rows)[:, None]
        canvas /= _laid_out(fade, 2 * columns)
        image = canvas[:, 2 * overlap :, 2 * overlap :][:, : 2 * height, : 2 * width].contiguous()
    return RestoredFrame(image, origins.cpu(), (positions[0] - origins[:, None]).cpu(), watch.seconds)


def _fade(length: int, ramp: int) -> Tensor:
    """Weights of a tile's pixels along one axis: 1, but for linear ramps at both ends."""
    rise = (torch.arange(length) + 0.5) / max(ramp, 0.5)
    return torch.minimum(rise, rise.flip(0)).clamp_max(1)


def _laid_out(fade: Tensor, starts: Tensor) -> Tensor:
    """Sum of the weights of all tiles along one axis."""
    total = torch.zeros(int(starts[-1]) + len(fade))
    for start in starts.tolist():
        total[start : start + len(fade)] += fade
    return total
