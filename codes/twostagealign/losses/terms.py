"""Terms of the loss that option files name: `{type: Charbonnier, space: srgb, weight: 1}`."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.isp import Camera, process
from twostagealign.losses.charbonnier import charbonnier
from twostagealign.losses.edges import edge_map
from twostagealign.losses.matching import match_supervision, one_hot_pull
from twostagealign.losses.term import Extra, LossInput, LossTerm
from twostagealign.matching import score_candidates
from twostagealign.runtime.bounds import CountOrZero, Positive, PositiveOrZero, Probability

Space = Literal["linear", "srgb"]


class Charbonnier(LossTerm):
    """Charbonnier distance of the picture to the ground truth.

    Args:
        space: "linear": camera RGB; "srgb": after white balance, colour matrix and gamma.
        weight: factor of the term.
        gamma_offset: of `isp.compress_gamma`, for sRGB. The exact gamma has a gradient of 1e4 at black; a small offset
            (0.01) calms it.

    Source: Guo et al., CVPR 2022, section 3.4.
    """

    def __init__(self, space: Space, weight: Positive = 1.0, gamma_offset: PositiveOrZero = 0.0) -> None:
        self.space, self.weight, self.gamma_offset = space, weight, gamma_offset

    @property
    def name(self) -> str:
        """See `LossTerm`."""
        return self.space

    def view(self, image: Tensor, camera: Camera) -> Tensor:
        """A picture in the space that is compared."""
        if self.space == "linear":
            return image
        return process(image, camera, with_rgb_gain=False, gamma_offset=self.gamma_offset)

    def __call__(self, x: LossInput) -> Tensor:
        """See `LossTerm`."""
        camera = x.burst.camera
        return charbonnier(self.view(x.prediction, camera), self.view(x.target, camera))


class Interpolation(Charbonnier):
    """Charbonnier distance of the interpolation branch's picture, weighted by the edges of the ground truth.

    Args:
        space: see `Charbonnier`.
        weight: factor of the term.
        until: iteration at which the term ends; None: never.
        gamma_offset: see `Charbonnier`.

    Source: Guo et al., CVPR 2022, section 3.4.
    """

    reads: ClassVar[tuple[Extra, ...]] = ("interpolation",)

    def __init__(
        self,
        space: Space,
        weight: Positive = 1.0,
        until: CountOrZero | None = None,
        gamma_offset: PositiveOrZero = 0.0,
    ) -> None:
        super().__init__(space, weight, gamma_offset)
        self.until = until

    @property
    def name(self) -> str:
        """See `LossTerm`."""
        return f"interpolation_{self.space}"

    def __call__(self, x: LossInput) -> Tensor:
        """See `LossTerm`."""
        assert x.interpolation is not None
        seen = self.view(x.target, x.burst.camera)
        return charbonnier(self.view(x.interpolation, x.burst.camera), seen, edge_map(seen))


class PerFrame(Charbonnier):
    """Charbonnier distances of the pictures that each frame makes alone, for a `KPN` with ``per_frame``.

    Args:
        space: see `Charbonnier`.
        weight: factor of the term in iteration 0.
        decay: factor on that weight from iteration to iteration.
        gamma_offset: see `Charbonnier`.

    Source: Mildenhall et al., "Burst Denoising with Kernel Prediction Networks", CVPR 2018, section 4.2.
    """

    reads: ClassVar[tuple[Extra, ...]] = ("per_frame",)

    def __init__(
        self,
        space: Space,
        weight: Positive = 100.0,
        decay: Probability = 0.9998,
        gamma_offset: PositiveOrZero = 0.0,
    ) -> None:
        super().__init__(space, weight, gamma_offset)
        self.decay = decay

    @property
    def name(self) -> str:
        """See `LossTerm`."""
        return f"per_frame_{self.space}"

    def factor(self, iteration: int) -> float:
        """See `LossTerm`."""
        return self.weight * self.decay**iteration

    def __call__(self, x: LossInput) -> Tensor:
        """See `LossTerm`."""
        assert x.per_frame is not None
        seen = self.view(x.target, x.burst.camera)
        distances = [charbonnier(self.view(picture, x.burst.camera), seen) for picture in x.per_frame]
        return torch.stack(distances).sum()


class MatchSupervision(LossTerm):
    """Pull on the scores of the candidates towards those that the clean raw frames give; see `match_supervision`.

    Args:
        weight: factor of the term.
        until: iteration at which the term ends; None: never.
        antialias: blur the clean raw frames before they are made small. Without, as in the paper, fine texture aliases,
            and the clean scores themselves prefer a wrong candidate at times.

    Source: Guo et al., CVPR 2022, section 3.4.
    """

    name = "match_supervision"
    reads: ClassVar[tuple[Extra, ...]] = ("match",)

    def __init__(self, weight: Positive = 1e3, until: CountOrZero | None = 200_000, antialias: bool = False) -> None:
        self.weight, self.until, self.antialias = weight, until, antialias

    def __call__(self, x: LossInput) -> Tensor:
        """See `LossTerm`."""
        assert x.match is not None
        frames = x.burst.clean_raw
        small = F.interpolate(frames.flatten(0, 1), scale_factor=1 / x.scale, mode="bilinear", antialias=self.antialias)
        clean = small.unflatten(0, frames.shape[:2])
        clean_scores = score_candidates(clean, x.origins // x.scale, x.match, x.size // x.scale)
        return match_supervision(x.match.scores, clean_scores, x.match.valid)


class OneHot(LossTerm):
    """Pull on the weights of the candidates towards a choice of one; see `one_hot_pull`.

    Args:
        weight: factor of the term.

    Source: Guo et al., CVPR 2022, section 3.4.
    """

    name = "one_hot"
    reads: ClassVar[tuple[Extra, ...]] = ("match",)

    def __init__(self, weight: Positive = 1e5) -> None:
        self.weight = weight

    def __call__(self, x: LossInput) -> Tensor:
        """See `LossTerm`."""
        assert x.match is not None
        return one_hot_pull(x.match.weights, x.match.valid)
