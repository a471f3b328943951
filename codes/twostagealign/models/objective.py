"""What training minimises."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.data.burst import BurstBatch
from twostagealign.isp import process
from twostagealign.losses import charbonnier, edge_map, match_supervision, one_hot_pull
from twostagealign.matching import SoftMatch, score_candidates


@dataclass(frozen=True)
class TwoStageObjective:
    """The loss of a batch: sums over a burst, means over the bursts. The defaults are the paper's.

    Attributes:
        linear: weight of the Charbonnier loss in linear camera RGB.
        srgb: weight of the Charbonnier loss after white balance, colour matrix and gamma.
        srgb_gamma_offset: of `isp.compress_gamma`. The exact gamma has a gradient of 1e4 at black; a small offset
            (0.01) calms it.
        interpolation: weight of the interpolation branch, which has the same two terms, weighted by the edge map.
        interpolation_until: iteration at which the branch ends; None: never.
        per_frame: weight, in iteration 0, of each frame's own picture, which has the same two terms; above 0 only for
            networks that give such pictures in training (`KPN`).
        per_frame_decay: factor on that weight from iteration to iteration (Mildenhall et al., CVPR 2018, section 4.2).
        match_supervision: weight of the pull on the candidates' scores towards those that the clean raw frames give.
        match_supervision_until: iteration at which that pull ends; None: never.
        match_supervision_antialias: blur the clean raw frames before they are made small. Without, as in the paper,
            fine texture aliases, and the clean scores themselves prefer a wrong candidate at times.
        one_hot: weight of the pull on the candidates' weights towards a choice of one.

    Source: Guo et al., CVPR 2022, section 3.4.
    """

    linear: float = 1.0
    srgb: float = 1.0
    srgb_gamma_offset: float = 0.0
    interpolation: float = 1.0
    interpolation_until: int | None = None
    per_frame: float = 0.0
    per_frame_decay: float = 0.9998
    match_supervision: float = 1e3
    match_supervision_until: int | None = 200_000
    match_supervision_antialias: bool = False
    one_hot: float = 1e5

    def __call__(
        self,
        prediction: Tensor,
        match: SoftMatch | None,
        burst: BurstBatch,
        origins: Tensor,
        size: int,
        scale: int,
        iteration: int,
    ) -> dict[str, Tensor]:
        """Compute the weighted terms; their sum is the loss.

        Args:
            prediction: of `TwoStageRestorer` in training with one patch per burst: (2B, 3, 2 * size, 2 * size) with the
                interpolation branch, (B, ...) without, ((1 + N) * B, ...) with each frame's own picture.
            match: its match, if there was one; the terms for matching are left out otherwise.
            burst: what was restored, with target and clean raw.
            origins: top-left corners [y, x] of the reference patches, raw pixels, (B, 1, 2), long.
            size: side of a patch, raw pixels.
            scale: raw pixels per feature pixel.
            iteration: of the training.

        Returns:
            Name -> scalar. Terms of weight zero are left out.
        """
        terms = self._restoration_terms(prediction, _cut_target(burst, origins, size), burst, iteration)
        if match and self._supervises(iteration):
            clean = F.interpolate(
                burst.clean_raw.flatten(0, 1),
                scale_factor=1 / scale,
                mode="bilinear",
                antialias=self.match_supervision_antialias,
            )
            clean = clean.unflatten(0, burst.clean_raw.shape[:2])
            clean_scores = score_candidates(clean, origins // scale, match, size // scale)
            terms["match_supervision"] = self.match_supervision * match_supervision(
                match.scores, clean_scores, match.valid
            )
        if match and self.one_hot:
            terms["one_hot"] = self.one_hot * one_hot_pull(match.weights, match.valid)
        return {name: term / len(burst.lq) for name, term in terms.items()}

    def interpolates(self, iteration: int) -> bool:
        """Whether the interpolation branch counts in this iteration."""
        return self.interpolation > 0 and _before(iteration, self.interpolation_until)

    def matches(self, iteration: int) -> bool:
        """Whether the match counts in this iteration."""
        return self.one_hot > 0 or self._supervises(iteration)

    def _supervises(self, iteration: int) -> bool:
        return self.match_supervision > 0 and _before(iteration, self.match_supervision_until)

    def _restoration_terms(
        self, prediction: Tensor, target: Tensor, burst: BurstBatch, iteration: int
    ) -> dict[str, Tensor]:
        main, *others = prediction.split(len(target))

        def srgb(image: Tensor) -> Tensor:
            return process(image, burst.camera, with_rgb_gain=False, gamma_offset=self.srgb_gamma_offset)

        terms = {}
        for name, weight, view in (("linear", self.linear, lambda image: image), ("srgb", self.srgb, srgb)):
            if not weight:
                continue
            seen = view(target)
            terms[name] = weight * charbonnier(view(main), seen)
            if self.per_frame:
                annealed = self.per_frame * self.per_frame_decay**iteration
                distances = [charbonnier(view(picture), seen) for picture in others]
                terms[f"per_frame_{name}"] = annealed * weight * torch.stack(distances).sum()
            elif others:
                masked = charbonnier(view(others[0]), seen, edge_map(seen))
                terms[f"interpolation_{name}"] = self.interpolation * weight * masked
        return terms


def _before(iteration: int, until: int | None) -> bool:
    return until is None or iteration < until


def _cut_target(burst: BurstBatch, origins: Tensor, size: int) -> Tensor:
    corners = (2 * origins[:, 0]).tolist()
    pairs = zip(burst.target, corners, strict=True)
    return torch.stack([target[:, y : y + 2 * size, x : x + 2 * size] for target, (y, x) in pairs])
