"""EDVR for joint denoising and demosaicking: deformable alignment and attention over time and space."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs.blocks import (
    SLOPE,
    ResidualBlock,
    check_width,
    double,
    initialise,
    initialise_delta_orthogonal,
    is_delta,
    start_at_reference,
)
from twostagealign.archs.frames import BurstNetwork
from twostagealign.archs.pcd_align import PCDAlignment
from twostagealign.runtime.bounds import Blocks, Channels, Frames
from twostagealign.runtime.precision import apply_precisely


class EDVR(BurstNetwork):
    """Restore the reference frame of a raw burst by alignment (PCD), fusion (TSA) and reconstruction.

    Args:
        nf: number of feature channels; positive, even, a multiple of ``groups``.
        groups: groups of channels that share their offsets in the alignment.
        frames: number of frames N of a burst; the fusion concatenates them.
        front_blocks: residual blocks that compute the features of a frame.
        back_blocks: residual blocks of the reconstruction.
        residual: add the result to the demosaicked reference frame; False: produce the whole picture.
        initialisation: "orthogonal", or "delta_orthogonal" with a fusion that starts at the reference frame; see
            `initialise_delta_orthogonal`. Residual blocks start as in the paper.

    Attributes:
        nf: number of feature channels.

    Raises:
        ValueError: an argument is invalid.

    Source:
        Wang et al., "EDVR: Video Restoration with Enhanced Deformable Convolutional Networks", CVPR Workshops 2019.
        The defaults are its size M. Input and output are those of raw bursts: 8 channels per frame, one pixel shuffle.

    Example:
        >>> lq = torch.rand(1, 5, 4, 8, 12)
        >>> EDVR(nf=8)(lq, torch.full_like(lq, 0.02)).shape
        torch.Size([1, 3, 16, 24])
    """

    def __init__(
        self,
        nf: Channels = 64,
        groups: Channels = 8,
        frames: Frames = 5,
        front_blocks: Blocks = 5,
        back_blocks: Blocks = 10,
        residual: bool = False,
        initialisation: str = "orthogonal",
    ) -> None:
        super().__init__()
        check_width(nf, groups)
        for name, value in (("frames", frames), ("front_blocks", front_blocks), ("back_blocks", back_blocks)):
            if value <= 0:
                raise ValueError(f"{name} is {value}, expected a positive number")
        self.nf = nf
        self.frames = frames
        self.residual = residual
        self.first = nn.Conv2d(8, nf, 3, padding=1)
        self.features = nn.Sequential(*(ResidualBlock(nf) for _ in range(front_blocks)))
        self.alignment = PCDAlignment(nf, groups, cascade=True)
        self.fusion = TSAFusion(nf, frames)
        self.reconstruction = nn.Sequential(*(ResidualBlock(nf) for _ in range(back_blocks)))
        self.upsample = nn.Sequential(
            nn.Conv2d(nf, 4 * nf, 3, padding=1), nn.PixelShuffle(2), nn.LeakyReLU(SLOPE, inplace=True)
        )
        self.full_size = nn.Sequential(nn.Conv2d(nf, nf, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True))
        self.last = nn.Conv2d(nf, 3, 3, padding=1)
        outside_of_blocks = (self.first, self.upsample, self.full_size, self.last)
        for part in outside_of_blocks:
            initialise(part)
        if is_delta(initialisation):
            for part in outside_of_blocks:
                initialise_delta_orthogonal(part)
            self.alignment.initialise_delta_orthogonal()
            self.fusion.start_at_reference()
        if residual:
            nn.init.zeros_(self.last.weight)

    def restore(self, images: Tensor, burst: torch.Size, interpolation: bool) -> Tensor:
        """See `BurstNetwork`; there is no interpolation branch."""
        features = self.features(F.leaky_relu(self.first(images), SLOPE))
        fused = self.fusion(self.alignment(features.unflatten(0, burst)))
        return apply_precisely(self.last, self.full_size(self.upsample(self.reconstruction(fused))))


class TSAFusion(nn.Module):
    """Fuse aligned frames with attention over time, then over space.

    Temporal attention weights every pixel of a frame by its similarity to the reference frame. Spatial attention is a
    pyramid of three levels that scales and shifts the fused features.

    Args:
        nf: number of feature channels.
        frames: number of frames N.

    Source:
        Wang et al., "EDVR", CVPR Workshops 2019, section 3.3.
    """

    def __init__(self, nf: int, frames: int) -> None:
        super().__init__()
        self.embed_reference = nn.Conv2d(nf, nf, 3, padding=1)
        self.embed_frames = nn.Conv2d(nf, nf, 3, padding=1)
        self.fuse = nn.Conv2d(frames * nf, nf, 1)
        self.attend1 = nn.Conv2d(frames * nf, nf, 1)
        self.pooled2 = nn.Conv2d(2 * nf, nf, 1)
        self.attend2 = nn.Conv2d(nf, nf, 1)
        self.pooled3 = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.attend3 = nn.Conv2d(nf, nf, 3, padding=1)
        self.refine = nn.Conv2d(nf, nf, 3, padding=1)
        self.merge = nn.Conv2d(nf, nf, 1)
        self.scale = nn.Conv2d(nf, nf, 3, padding=1)
        self.shift = nn.Sequential(nn.Conv2d(nf, nf, 1), nn.LeakyReLU(SLOPE, inplace=True), nn.Conv2d(nf, nf, 1))
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        self.frames = frames
        initialise(self)

    def start_at_reference(self) -> None:
        """Start training with the reference frame alone, and without spatial attention."""
        # Three factors are one half at first: the masks of two deformable convolutions and the temporal attention.
        start_at_reference(self.fuse, self.frames, gain=8)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(cast(nn.Conv2d, self.shift[-1]).weight)

    def forward(self, aligned: Tensor) -> Tensor:
        """Fuse.

        Args:
            aligned: aligned features, (B, N, nf, H, W); H and W multiples of 4.

        Returns:
            Fused features, (B, nf, H, W).
        """
        frames = aligned.shape[1]
        reference = self.embed_reference(aligned[:, frames // 2])
        embedded = self.embed_frames(aligned.flatten(0, 1)).unflatten(0, aligned.shape[:2])
        similarity = torch.sigmoid((embedded * reference.unsqueeze(1)).sum(dim=2, keepdim=True))
        weighted = (aligned * similarity).flatten(1, 2)
        fused = self.activation(self.fuse(weighted))

        level1 = self.activation(self.attend1(weighted))
        level2 = self.activation(self.pooled2(_halve(level1)))
        level3 = self.activation(self.pooled3(_halve(self.activation(self.attend2(level2)))))
        level3 = double(self.activation(self.attend3(level3)))
        attention = self.activation(self.refine(level2)) + level3
        attention = self.scale(double(self.activation(self.merge(attention))))
        return fused * 2 * torch.sigmoid(attention) + self.shift(attention)


def _halve(features: Tensor) -> Tensor:
    """Halve height and width by maxima and by means, and concatenate both, (B, nf, H, W) -> (B, 2 nf, H/2, W/2)."""
    maxima = F.max_pool2d(features, 3, stride=2, padding=1)
    return torch.cat((maxima, F.avg_pool2d(features, 3, stride=2, padding=1)), dim=1)
