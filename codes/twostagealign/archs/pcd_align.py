"""Pixel-level alignment: a pyramid of modulated deformable convolutions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs.blocks import SLOPE, initialise, initialise_delta_orthogonal
from twostagealign.ops import deform_conv2d

# Offsets and masks of so many bytes, of at least one frame, are predicted and used at a time on a processor: they take
# several times as much memory as the features that they displace.
_OFFSET_BYTES = 8 * 2**20


class PCDAlignment(nn.Module):
    """Align the features of every frame to the reference frame, from coarse to fine over three pyramid levels.

    The reference is aligned to itself like any other frame. EDVR's last (cascading) deformable convolution is left out.

    Args:
        nf: number of feature channels.
        groups: groups of channels that share their offsets; divides ``nf``.

    Source:
        Wang et al., "EDVR", CVPR Workshops 2019, section 3.2; Guo et al., CVPR 2022, section 3.3.
    """

    def __init__(self, nf: int, groups: int) -> None:
        super().__init__()
        self.down2 = _halve(nf)
        self.down3 = _halve(nf)
        self.level3 = CoarsestLevel(nf, groups)
        self.level2 = FinerLevel(nf, groups)
        self.level1 = FinerLevel(nf, groups)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        initialise(self)
        self._reset_offsets()

    def initialise_delta_orthogonal(self) -> None:
        """Do so with what passes features on; what estimates motion keeps kernels that look around."""
        passing = (self.level1.deform, self.level1.fuse, self.level2.deform, self.level2.fuse, self.level3.deform)
        for layer in (self.down2, self.down3, *passing):
            initialise_delta_orthogonal(layer)
        self._reset_offsets()

    def _reset_offsets(self) -> None:
        for level in (self.level1, self.level2, self.level3):
            level.deform.reset_offsets()

    def forward(self, features: Tensor) -> Tensor:
        """Align all frames to frame N // 2.

        Args:
            features: (B, N, nf, H, W); H and W multiples of 4.

        Returns:
            Aligned features, the same shape.
        """
        batch, frames = features.shape[:2]
        frames1 = features.flatten(0, 1)
        frames2 = self.down2(frames1)
        frames3 = self.down3(frames2)

        aligned, motion = self.level3(frames3, frames)
        aligned, motion = self.level2(frames2, frames, self.activation(aligned), motion)
        aligned, motion = self.level1(frames1, frames, self.activation(aligned), motion)
        return aligned.unflatten(0, (batch, frames))


class Comparison(nn.Conv2d):
    """A 3x3 convolution of the features of every frame concatenated with those of the reference frame.

    Args:
        nf: number of feature channels.
    """

    def __init__(self, nf: int) -> None:
        super().__init__(2 * nf, nf, 3, padding=1)

    def forward(self, features: Tensor, frames: int) -> Tensor:
        """Convolve ``features`` (B * frames, nf, H, W); the same shape. The reference's share is computed once."""
        of_frame, of_reference = self.weight.chunk(2, dim=1)
        reference = F.conv2d(features.unflatten(0, (-1, frames))[:, frames // 2], of_reference, padding=1)
        output = F.conv2d(features, of_frame, self.bias, padding=1)
        output.unflatten(0, (-1, frames)).add_(reference.unsqueeze(1))
        return output


class CoarsestLevel(nn.Module):
    """The level that starts from nothing: estimate motion, deform."""

    def __init__(self, nf: int, groups: int) -> None:
        super().__init__()
        self.compare = Comparison(nf)
        self.refine = nn.Conv2d(nf, nf, 3, padding=1)
        self.deform = ModulatedDeformConv(nf, groups)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor, frames: int) -> tuple[Tensor, Tensor]:
        """Align ``features`` (B * frames, nf, H, W) to those of the reference frame among them.

        Returns:
            Aligned features before an activation, and the motion features that the offsets were predicted from.
        """
        motion = self.activation(self.compare(features, frames))
        motion = self.activation(self.refine(motion))
        return self.deform(features, motion), motion


class FinerLevel(nn.Module):
    """A level that takes motion and aligned features from the one below, half its size."""

    def __init__(self, nf: int, groups: int) -> None:
        super().__init__()
        self.compare = Comparison(nf)
        self.merge = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.refine = nn.Conv2d(nf, nf, 3, padding=1)
        self.deform = ModulatedDeformConv(nf, groups)
        self.fuse = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, features: Tensor, frames: int, below: Tensor, motion_below: Tensor) -> tuple[Tensor, Tensor]:
        """Align as the coarsest level does, with aligned and motion features from below, half the size."""
        motion = self.activation(self.compare(features, frames))
        # A displacement of one pixel below is one of two pixels here.
        motion = self.activation(self.merge(torch.cat((motion, _double(2 * motion_below)), dim=1)))
        motion = self.activation(self.refine(motion))
        aligned = self.deform(features, motion)
        return self.fuse(torch.cat((aligned, _double(below)), dim=1)), motion


class ModulatedDeformConv(nn.Conv2d):
    """A 3x3 deformable convolution whose offsets and masks are predicted from other features.

    Args:
        channels: channels of both inputs and of the output.
        groups: groups of channels that share their offsets.

    Attributes:
        mean_offset: mean absolute offset in pixels of the latest forward pass in training mode, None before one.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__(channels, channels, 3, padding=1)
        self.offset_groups = groups
        self.predictor = nn.Conv2d(channels, 3 * groups * 9, 3, padding=1)
        self.mean_offset: Tensor | None = None
        self.reset_offsets()

    def reset_offsets(self) -> None:
        """Predict offset 0 and mask 0.5 everywhere."""
        nn.init.zeros_(self.predictor.weight)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:
        """Deform ``x`` (B, channels, H, W) as ``motion`` (the same shape) says."""
        if self.training or x.is_cuda:
            return self._deform(x, motion)
        frames = max(1, _OFFSET_BYTES // (self.predictor.out_channels * x[0, 0].nbytes))
        parts = zip(x.split(frames), motion.split(frames), strict=True)
        return torch.cat([self._deform(*part) for part in parts])

    def _deform(self, x: Tensor, motion: Tensor) -> Tensor:
        offset, mask = self.predictor(motion).split((2 * self.offset_groups * 9, self.offset_groups * 9), dim=1)
        if self.training:
            self.mean_offset = offset.detach().abs().mean()
        return deform_conv2d(x, offset, self.weight, self.bias, padding=1, mask=torch.sigmoid(mask))


def _halve(nf: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(nf, nf, 3, stride=2, padding=1),
        nn.LeakyReLU(SLOPE, inplace=True),
        nn.Conv2d(nf, nf, 3, padding=1),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
