"""Both stages together: features, block matching, network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from twostagealign.archs.block_matching import SoftMatch, blend_patches, hard_match, soft_match


class TwoStageRestorer(nn.Module):
    """Match the patches of a burst to its reference frame, then restore them.

    Sizes and positions of patches are in raw pixels and multiples of the scale of the feature net (4).

    Args:
        network: restores aligned patches, `(lq, noise_map, interpolation) -> linear RGB`.
        features: makes the low-resolution feature maps that are matched; has the attribute `scale`.

    Source: Guo et al., CVPR 2022, section 3.
    """

    def __init__(self, network: nn.Module, features: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.features = features

    def forward(
        self,
        lq: Tensor,
        noise_map: Tensor,
        origins: Tensor,
        size: int,
        search_window: int | None,
        temperature: float,
        interpolation: bool = True,
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

        Returns:
            Linear RGB of all patches, (B * P, 3, 2 * size, 2 * size), followed on the batch axis by that of the
            interpolation branch; and the match that led to them, if there was one.
        """
        scale = self.features.scale
        maps = torch.cat([lq, noise_map], dim=2)
        if search_window is None:
            match = None
            patches = _cut(maps, origins, size)
        else:
            # Matching tells small differences apart, and costs little: it keeps full precision under autocast.
            with torch.autocast(lq.device.type, enabled=False):
                radius = search_window // (2 * scale)
                match = soft_match(self.features(lq), origins // scale, size // scale, radius, temperature)
                patches = blend_patches(maps, match, size, scale)
        lq, noise_map = patches.flatten(0, 1).split(4, dim=2)
        return self.network(lq, noise_map, interpolation), match

    @torch.inference_mode()
    def match(
        self, feature_maps: Tensor, origins: Tensor, size: int, search_window: int, inclusive: bool = True
    ) -> Tensor:
        """Find the reference patches in the other frames.

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


def _cut(maps: Tensor, origins: Tensor, size: int) -> Tensor:
    """Cut bursts (B, N, C, H, W) into squares, at (B, P, 2) in all frames alike: (B, P, N, C, size, size)."""
    bursts = zip(maps, origins.tolist(), strict=True)
    return torch.stack(
        [torch.stack([burst[..., y : y + size, x : x + size] for y, x in places]) for burst, places in bursts]
    )
