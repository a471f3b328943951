"""Direct restoration of a whole frame: pad, match, restore tile by tile."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from baselines.matching import match_directly
from baselines.network import DirectNetwork


@torch.inference_mode()
def restore_directly(
    network: DirectNetwork,
    features: nn.Module,
    lq: Tensor,
    noise_map: Tensor,
    patch: int = 64,
    halo: int = 4,
    search_window: int = 48,
) -> Tensor:
    """Restore the middle frame of a burst.

    Args:
        network: restores aligned tiles.
        features: low-resolution feature net; its output is four times smaller than its input.
        lq: noisy raw planes, (N, 4, H, W).
        noise_map: standard deviation of the noise, same shape.
        patch: side of a tile without its halo, raw pixels.
        halo: width of the margin around a tile, raw pixels.
        search_window: width of the search window of a tile, raw pixels.

    Returns:
        Linear camera RGB, (3, 2H, 2W).

    Source: Guo et al., CVPR 2022, section 4; its released test scripts.
    """
    height, width = lq.shape[-2:]
    border = (halo, halo + -width % patch, halo, halo + -height % patch)
    lq, noise_map = F.pad(lq, border), F.pad(noise_map, border)
    corners = torch.cartesian_prod(torch.arange(0, height, patch), torch.arange(0, width, patch))
    side = patch + 2 * halo
    positions = 4 * match_directly(features(lq), corners // 4, side // 4, search_window // 8)
    image = torch.zeros(3, 2 * (height + patch), 2 * (width + patch))
    for (top, left), places in zip(corners.tolist(), positions.tolist(), strict=True):
        tiles = [
            torch.stack([frame[:, y : y + side, x : x + side] for frame, (y, x) in zip(planes, places, strict=True)])
            for planes in (lq, noise_map)
        ]
        tile = network(*(planes[None] for planes in tiles))[0]
        middle = tile[:, 2 * halo : 2 * (halo + patch), 2 * halo : 2 * (halo + patch)]
        image[:, 2 * top : 2 * (top + patch), 2 * left : 2 * (left + patch)] = middle
    return image[:, : 2 * height, : 2 * width]
