"""Both stages together: features, block matching, network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostagealign.matching.block_matching import SoftMatch, blend_patches, hard_match, refine_match, soft_match
from twostagealign.matching.candidate_windows import channels_last, cut_squares


class TwoStageRestorer(nn.Module):
    """Match the patches of a burst to its reference frame, then restore them.

    Sizes and positions of patches are in raw pixels and multiples of the scale of the feature net (4).

    Args:
        network: restores aligned patches, `(lq, noise_map, interpolation) -> linear RGB`.
        features: makes the low-resolution feature maps that are matched; has the attribute `scale`.
        refine: find patches to the pixel. In training, see `archs.block_matching.refine_match`: the network then gets
            the patches that are found, and the features learn from the losses on the match alone. In restoration, see
            `refine_beyond` there.

    Source: Guo et al., CVPR 2022, section 3.
    """

    def __init__(self, network: nn.Module, features: nn.Module, refine: bool = False) -> None:
        super().__init__()
        self.network = network
        self.features = features
        self.refine = refine

    def forward(
        self,
        lq: Tensor,
        noise_map: Tensor,
        origins: Tensor,
        size: int,
        search_window: int | None,
        temperature: float,
        interpolation: bool = True,
        match_losses: bool = True,
    ) -> tuple[Tensor, SoftMatch | None]:
        """Differentiable matching and restoration, for training.

        Args:
            lq: noisy raw bursts, (B, N, 4, H, W).
            noise_map: of the same shape.
            origins: top-left corners [y, x] of the reference patches, (B, P, 2), long.
            size: side of a patch.
            search_window: width of the window that a patch is searched in from frame to frame; None leaves stage one
                out: every patch stays where it is in the reference frame.
            temperature: of the softmax over candidates.
            interpolation: also run the interpolation branch.
            match_losses: whether the match counts in the loss; if it does not, and the network does not need it either,
                it is not made.

        Returns:
            Linear RGB of all patches, (B * P, 3, 2 * size, 2 * size), followed on the batch axis by that of the
            interpolation branch; and the match that led to them, if there was one.
        """
        scale = self.features.scale
        maps = torch.cat([lq, noise_map], dim=2)
        match = None
        if search_window is None:
            patches = _cut(maps, origins.unsqueeze(2).expand(-1, -1, lq.shape[1], -1), size)
        else:
            # Matching tells small differences apart, and costs little: it keeps full precision under autocast.
            with torch.autocast(lq.device.type, enabled=False):
                features, radius = self.features(lq), search_window // (2 * scale)
                if match_losses or not self.refine:
                    match = soft_match(features, origins // scale, size // scale, radius, temperature)
                if self.refine:
                    positions = self.match(features, origins, size, search_window)
                    patches = _cut(maps, refine_match(grey(lq), origins, positions, size), size)
                else:
                    patches = blend_patches(maps, match, size, scale)
        lq, noise_map = patches.flatten(0, 1).split(4, dim=2)
        return self.network(lq, noise_map, interpolation), match

    def match(
        self, feature_maps: Tensor, origins: Tensor, size: int, search_window: int, inclusive: bool = True
    ) -> Tensor:
        """Find the reference patches in the other frames, to the `scale`.

        Args:
            feature_maps: of whole frames, (B, N, C, H / 4, W / 4), from `features`.
            origins: top-left corners [y, x] of the reference patches, (B, P, 2), long.
            size: side of a patch.
            search_window: width of the window that a patch is searched in from frame to frame.
            inclusive: whether the last candidates count; see `hard_match`.

        Returns:
            Top-left corner [y, x] of every patch in every frame, (B, P, N, 2), long.
        """
        scale = self.features.scale
        radius = search_window // (2 * scale)
        return scale * hard_match(feature_maps, origins // scale, size // scale, radius, inclusive)


def grey(lq: Tensor) -> Tensor:
    """Mean of the four raw planes (..., 4, H, W): (..., 1, H, W)."""
    return lq.mean(dim=-3, keepdim=True)


def _cut(maps: Tensor, positions: Tensor, size: int) -> Tensor:
    """Cut bursts (B, N, C, H, W) into squares, at (B, P, N, 2): (B, P, N, C, size, size)."""
    return cut_squares(channels_last(maps), range(maps.shape[1]), positions, size).movedim(-1, 3)
