"""Both stages together: features, block matching, network."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from twostagealign.data.burst import RawFrame
from twostagealign.matching import FrameMaps, Matcher, SoftMatch


class TwoStageRestorer(nn.Module):
    """Match the patches of a burst to its reference frame, then restore them.

    Sizes and positions of patches are in raw pixels and multiples of the matcher's scale.

    Args:
        network: restores aligned patches, `(lq, noise_map, interpolation) -> linear RGB`.
        features: makes the feature maps that are matched, (..., 4, H, W) -> (..., C, H / scale, W / scale).
        matcher: finds the patches on the feature maps.

    Attributes:
        dtype: what restoration computes the network in; see `compute_in`.

    Source: Guo et al., CVPR 2022, section 3.
    """

    def __init__(self, network: nn.Module, features: nn.Module, matcher: Matcher) -> None:
        super().__init__()
        self.network = network
        self.features = features
        self.matcher = matcher
        self.dtype = torch.float32

    def compute_in(self, dtype: torch.dtype) -> TwoStageRestorer:
        """Choose what restoration computes the network in, and return the restorer. Matching keeps float32.

        Args:
            dtype: float32 and float64 are the dtype of everything. bfloat16 and float16 are that of convolutions and
                matrix products (autocast, as in training). Raw values, pictures, weights, and what a network itself
                excludes stay in float32.
        """
        self.dtype = dtype
        self.network.to(torch.promote_types(dtype, torch.float32))
        return self

    def precision(self) -> AbstractContextManager[object]:
        """Return the context in which restoration calls the network."""
        low = self.dtype in (torch.bfloat16, torch.float16)
        return torch.autocast(next(self.parameters()).device.type, self.dtype if low else None, enabled=low)

    def with_matcher(self, matcher: Matcher) -> TwoStageRestorer:
        """Return a restorer of the same networks, which are shared, with another matcher."""
        restorer = TwoStageRestorer(self.network, self.features, matcher).train(self.training)
        restorer.dtype = self.dtype
        return restorer

    def forward(
        self,
        lq: Tensor,
        noise_map: Tensor,
        origins: Tensor,
        size: int,
        temperature: float,
        interpolation: bool = True,
        match_losses: bool = True,
    ) -> tuple[Tensor, SoftMatch | None]:
        """Differentiable matching and restoration, for training.

        Args:
            lq: noisy raw bursts, (B, N, 4, H, W).
            noise_map: noise maps, the shape of `lq`.
            origins: top-left corners [y, x] of the reference patches, (B, P, 2), int64.
            size: side of a patch.
            temperature: temperature of the softmax over candidates.
            interpolation: also run the interpolation branch.
            match_losses: whether the match is used in the loss. Matching is skipped if neither loss nor network uses
                it.

        Returns:
            Linear RGB of all patches, (B * P, 3, 2 * size, 2 * size), followed on the batch axis by that of the
            interpolation branch; and the match, if there was one.
        """
        beyond = getattr(self.network, "merge", False)  # which does not average what is unknown
        patches, match = self.matcher.align(
            self.features, lq, noise_map, origins, size, temperature, match_losses, beyond
        )
        lq, noise_map = patches.flatten(0, 1).split(4, dim=2)
        return self.network(lq, noise_map, interpolation), match

    def describe(self, frame: RawFrame, patch: int, halo: int) -> FrameMaps:
        """Compute the maps that a frame is matched by, on the device of the frame; see `Matcher.describe`."""
        return self.matcher.describe(self.features, frame.raw(), patch, halo)
