"""Stage one of the alignment, as restoration and training ask for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from twostagealign.matching.candidate_windows import channels_last, cut_squares
from twostagealign.matching.refinement import refine_beyond, refine_match
from twostagealign.matching.search import SoftMatch, blend_patches, hard_match, soft_match
from twostagealign.merging import UNKNOWN


@dataclass(frozen=True)
class Search:
    """Where patches are searched.

    Attributes:
        search_window: width of the window that a patch is searched in from frame to frame, raw pixels; a multiple of
            16, so that the position that the search starts from is itself a candidate.
        block_matching: False leaves stage one out: every patch stays where it is in the reference frame.
        inclusive_search: False leaves out the last row and column of the candidate positions, as the released code
            does.

    Raises:
        ValueError: the search window is not a multiple of 16 from 16 to 1024.
    """

    search_window: int = 48
    block_matching: bool = True
    inclusive_search: bool = True

    def __post_init__(self) -> None:
        if self.search_window < 16 or self.search_window % 16:
            raise ValueError(f"search_window: found {self.search_window}, expected a multiple of 16, at least 16")
        if self.search_window > 1024:
            raise ValueError(f"search_window: found {self.search_window}, expected at most 1024")


@dataclass(frozen=True)
class FrameMaps:
    """What the patches of a frame are compared by.

    Attributes:
        features: feature maps of the frame with a border, (C, H / scale, W / scale).
        grey: mean of the raw planes, (1, H, W), for `Matcher.refine`; None without.
    """

    features: Tensor
    grey: Tensor | None


@dataclass(frozen=True)
class Matcher:
    """Find the patches of a burst's reference frame in its other frames.

    Positions and sizes of patches are in raw pixels and multiples of `scale`.

    Attributes:
        scale: raw pixels per pixel of the feature maps.
        search: where patches are searched.
        refine: search on to the single raw pixel. In training, the network then gets the patches that are found, and
            the features learn from the losses on the match alone.

    Source: Guo et al., CVPR 2022, section 3.2; `refine` is not part of the paper.
    """

    scale: int
    search: Search = Search()
    refine: bool = False

    @property
    def repeats_border(self) -> bool:
        """Whether patches may be found beyond the border of a frame. In the released code, they may not."""
        return self.refine

    def describe(self, features: Callable[[Tensor], Tensor], planes: Tensor, patch: int, halo: int) -> FrameMaps:
        """Make what a whole frame is matched by. It depends on no other frame.

        Args:
            features: makes the feature maps, (4, H, W) -> (C, H / scale, W / scale).
            planes: raw planes, (4, H, W).
            patch: side of a patch.
            halo: pixels around a patch that are compared too.
        """
        height, width = planes.shape[-2:]
        border = (halo, halo + -width % patch, halo, halo + -height % patch)
        return FrameMaps(features(F.pad(planes, border)), grey(planes) if self.refine else None)

    def locate(self, frames: Sequence[Callable[[], FrameMaps]], origins: Tensor, patch: int, halo: int) -> Tensor:
        """Find the patches of a whole frame, for restoration.

        Args:
            frames: functions that describe one frame each, by `describe`; N of them, the reference frame is N // 2.
                They are called one after the other, unless all patches stay where they are.
            origins: top-left corners [y, x] of the patches in the reference frame, (P, 2), int64; multiples of `patch`
                that cover the frame. Patches of the last row and column may reach beyond it.
            patch: side of a patch.
            halo: pixels around a patch that are compared too.

        Returns:
            Top-left corners [y, x] of the patches in all frames, (P, N, 2), int64.
        """
        if not self.search.block_matching:
            return origins.unsqueeze(1).expand(-1, len(frames), -1)
        side = patch + 2 * halo
        maps = [describe() for describe in frames]
        # With the border, a patch and its halo begin where the patch itself began.
        positions = self.match(torch.stack([frame.features for frame in maps])[None], origins[None], side)
        if self.refine:
            corners = (origins - halo)[None]
            planes = torch.stack([frame.grey for frame in maps if frame.grey is not None])[None]
            columns = int((origins[:, 0] == origins[0, 0]).sum())
            positions = halo + refine_beyond(planes, corners, positions - halo, side, columns)
        return positions[0]

    def match(self, feature_maps: Tensor, origins: Tensor, size: int) -> Tensor:
        """Find patches on feature maps, to the `scale`.

        Args:
            feature_maps: feature maps of bursts, (B, N, C, H / scale, W / scale).
            origins: top-left corners [y, x] of the reference patches, (B, P, 2), int64.
            size: side of a patch.

        Returns:
            Top-left corners [y, x] of the patches in all frames, (B, P, N, 2), int64.
        """
        corners, side = origins // self.scale, size // self.scale
        return self.scale * hard_match(feature_maps, corners, side, self._radius, self.search.inclusive_search)

    def align(
        self,
        features: Callable[[Tensor], Tensor],
        lq: Tensor,
        noise_map: Tensor,
        origins: Tensor,
        size: int,
        temperature: float,
        needs_match: bool = True,
        beyond: bool = False,
    ) -> tuple[Tensor, SoftMatch | None]:
        """Find and cut patches, for training.

        Args:
            features: makes the feature maps, (B, N, 4, H, W) -> (B, N, C, H / scale, W / scale).
            lq: noisy raw bursts, (B, N, 4, H, W).
            noise_map: noise maps, the shape of `lq`.
            origins: top-left corners [y, x] of the reference patches, (B, P, 2), int64.
            size: side of a patch.
            temperature: temperature of the softmax over candidates.
            needs_match: whether the match is used in the loss. It is skipped if neither loss nor network uses it.
            beyond: with `refine`, patches may be found beyond the border, as in restoration; their noise maps say there
                that nothing is known.

        Returns:
            Patches of raw planes and noise maps, (B, P, N, 8, size, size), and the match, if there was one.
        """
        maps = torch.cat([lq, noise_map], dim=2)
        if not self.search.block_matching:
            return _cut(maps, origins.unsqueeze(2).expand(-1, -1, lq.shape[1], -1), size), None
        # Matching compares nearly equal sums, and costs little: it keeps full precision under autocast.
        with torch.autocast(lq.device.type, enabled=False):
            feature_maps, corners, side = features(lq), origins // self.scale, size // self.scale
            soft = partial(soft_match, feature_maps, corners, side, self._radius, temperature)
            if not self.refine:
                match = soft()
                return blend_patches(maps, match, size, self.scale), match
            refine = refine_beyond if beyond else refine_match
            positions = refine(grey(lq), origins, self.match(feature_maps, origins, size), size)
            patches = _cut(maps, positions, size)
            if beyond:
                patches[:, :, :, 4:].masked_fill_(_outside(positions, size, lq), UNKNOWN)
            return patches, soft() if needs_match else None

    @property
    def _radius(self) -> int:
        """Largest coarse offset from one frame to the next, feature pixels."""
        return self.search.search_window // (2 * self.scale)


def grey(planes: Tensor) -> Tensor:
    """Average the four raw planes (..., 4, H, W): (..., 1, H, W)."""
    return planes.mean(dim=-3, keepdim=True)


def _cut(maps: Tensor, positions: Tensor, size: int) -> Tensor:
    """Cut bursts (B, N, C, H, W) into squares at positions (B, P, N, 2): (B, P, N, C, size, size).

    Beyond the border, they repeat it.
    """
    return cut_squares(channels_last(maps), range(maps.shape[1]), positions, size).movedim(-1, 3)


def _outside(positions: Tensor, size: int, planes: Tensor) -> Tensor:
    """Which pixels of squares at positions (B, P, N, 2) lie beyond the border, (B, P, N, 1, size, size)."""
    line = torch.arange(size, device=positions.device)
    outside = [
        (coordinate < 0) | (coordinate >= side)
        for coordinate, side in zip((positions.unsqueeze(-1) + line).unbind(-2), planes.shape[-2:], strict=True)
    ]
    return (outside[0].unsqueeze(-1) | outside[1].unsqueeze(-2)).unsqueeze(3)
