"""Burst averaging without a network: tiles are matched in the other frames, and averaged as far as they agree.

Source: Hasinoff et al., "Burst photography for high dynamic range and low-light imaging on mobile cameras", SIGGRAPH
Asia 2016, sections 4 and 5. The coarse search here is progressive from frame to frame, as in stage one of the
network; the last search is exact to whole raw pixels.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.data import Burst, RawFrame
from twostagealign.matching import hard_match

TILE = 32
"""Side of a tile, raw pixels."""
STEP = TILE // 2
"""Distance between tiles, raw pixels."""
SCALE = 4
"""Raw pixels per pixel of the maps of the coarse search."""
REFINEMENT = 4
"""Reach of the search at full resolution around the coarse match, raw pixels."""
TRUST = 16.0
"""Weight is 0.5 at this multiple of the expected noise power. The paper has 8. On two photographs in motion, 16 gains
0.1 to 0.4 dB over 8, and 32 up to 0.2 dB more; but moving objects would be blended in."""


@torch.inference_mode()
def block_matched_average(burst: Burst, search_window: int = 48) -> Burst:
    """Average a burst into one raw frame.

    Args:
        burst: burst of any number of frames and any size.
        search_window: width of the search window from frame to frame, raw pixels, a multiple of 16.

    Returns:
        A burst of one frame: the averaged reference frame with its remaining noise. Camera and ground truth are those
        of `burst`.
    """
    frames, noise_maps = burst.stack()
    variances = noise_maps.square()
    reference, size = len(frames) // 2, frames.shape[-2:]
    # With this border, every pixel of the frame is in two tiles along each axis.
    border = (STEP, STEP + -size[1] % STEP, STEP, STEP + -size[0] % STEP)
    padded, padded_variances = (F.pad(maps, border, mode="replicate") for maps in (frames, variances))
    rows, columns = (torch.arange(0, side - STEP, STEP, device=frames.device) for side in padded.shape[-2:])
    positions = _find_tiles(padded, torch.cartesian_prod(rows, columns), search_window)

    places = positions.unbind(1)
    tiles = [_cut_squares(frame, corners) for frame, corners in zip(padded, places, strict=True)]
    noise = [_cut_squares(maps, corners).mean((2, 3)) for maps, corners in zip(padded_variances, places, strict=True)]
    merged, share = _merge(tiles, noise, reference)
    pieces = torch.cat([merged, share[:, :, None, None].expand_as(merged)], dim=1)
    whole = _put_together(pieces, len(rows), len(columns))[:, STEP:, STEP:][:, : size[0], : size[1]]
    average, share = whole.split(4)
    left = (variances[reference] * share).sqrt()
    return replace(burst, frames=[RawFrame(average, left, clean=burst.reference.clean)])


def _find_tiles(frames: Tensor, origins: Tensor, search_window: int) -> Tensor:
    """Find tiles at `origins` (P, 2) of the reference frame in all frames (N, 4, H, W), coarse to fine: (P, N, 2)."""
    # The blur removes aliasing of the means, and more noise.
    maps = F.avg_pool2d(F.avg_pool2d(frames, SCALE), 3, stride=1, padding=1, count_include_pad=False)
    radius = search_window // (2 * SCALE)
    positions = SCALE * hard_match(maps[None], origins[None] // SCALE, TILE // SCALE, radius)[0]

    reference = len(frames) // 2
    own = _cut_squares(frames[reference], origins)
    offsets = torch.arange(-REFINEMENT, REFINEMENT + 1, device=frames.device)
    offsets = torch.cartesian_prod(offsets, offsets)
    # Nearest offsets first: of equal distances, as between flat tiles, the first one wins.
    offsets = offsets[offsets.square().sum(1).argsort(stable=True)]
    last = origins.new_tensor(frames.shape[-2:]) - TILE
    for index in (index for index in range(len(frames)) if index != reference):
        around = F.pad(frames[index], (REFINEMENT,) * 4, mode="replicate")
        regions = _cut_squares(around, positions[:, index], TILE + 2 * REFINEMENT)
        windows = (regions[..., y : y + TILE, x : x + TILE] for y, x in (offsets + REFINEMENT).tolist())
        distances = torch.stack([(window - own).abs_().mean((1, 2, 3)) for window in windows])
        positions[:, index] += offsets[distances.argmin(0)]
    return positions.clamp_min(0).minimum(last)


def _merge(tiles: list[Tensor], noise: list[Tensor], reference: int) -> tuple[Tensor, Tensor]:
    """Average the aligned tiles of all frames per frequency, as far as they differ by no more than noise.

    Tiles are (P, 4, TILE, TILE) and their noise variances (P, 4) for each frame. Returns the average, and its noise
    variance relative to that of the reference frame.

    Source: Hasinoff et al., section 5, equations 6 and 7.
    """
    tiny = torch.finfo(noise[0].dtype).tiny
    own, own_noise = torch.fft.rfft2(tiles[reference]), noise[reference]
    average, weight_left, variance = own.clone(), torch.ones_like(own.real), torch.zeros_like(own.real)
    for index in (index for index in range(len(tiles)) if index != reference):
        difference = torch.fft.rfft2(tiles[index]) - own
        # Noise alone gives |difference| ** 2 the sum of the variances of all pixels.
        trusted = (TRUST * TILE**2 * (noise[index] + own_noise))[..., None, None]
        power = difference.real.square() + difference.imag.square()
        weight = trusted / (trusted + power).clamp_min(tiny) / len(tiles)
        average += weight * difference
        weight_left -= weight
        variance += weight.square() * (noise[index] / own_noise.clamp_min(tiny))[..., None, None]
    variance += weight_left.square()
    return torch.fft.irfft2(average, s=(TILE, TILE)), variance.mean((2, 3))


def _cut_squares(frame: Tensor, corners: Tensor, size: int = TILE) -> Tensor:
    """Cut squares from a frame (4, H, W) at P corners [y, x]: (P, 4, size, size)."""
    y, x = corners.unbind(1)
    return frame.unfold(1, size, 1).unfold(2, size, 1)[:, y, x].transpose(0, 1)


def _put_together(tiles: Tensor, rows: int, columns: int) -> Tensor:
    """Blend tiles (P, C, TILE, TILE), STEP apart, into one image. Their weights sum to 1, except at its border."""
    place = torch.arange(TILE, device=tiles.device, dtype=tiles.dtype) + 0.5
    window = 0.5 - 0.5 * torch.cos(2 * torch.pi * place / TILE)
    weighted = (tiles * window[:, None] * window).flatten(1).T[None]
    return F.fold(weighted, ((rows + 1) * STEP, (columns + 1) * STEP), TILE, stride=STEP)[0]
