"""Pixel-level alignment: a pyramid of modulated deformable convolutions."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs.blocks import (
    SLOPE,
    add,
    double,
    halving_block,
    initialise,
    initialise_delta_orthogonal,
)
from twostagealign.archs.conv_lstm import MotionLSTM
from twostagealign.ops import deform_conv2d
from twostagealign.runtime.exporting import is_exporting
from twostagealign.runtime.precision import convolve_precisely, dtype_of_products, full_precision

# CPU memory for offsets and masks, bytes: so many frames, at least one, are deformed at a time. Offsets and masks take
# several times as much memory as the features that they displace.
OFFSET_BYTES = 8 * 2**20


class PCDAlignment(nn.Module):
    """Align the features of every frame to the reference frame, from coarse to fine over three pyramid levels.

    The reference is aligned to itself like any other frame.

    Args:
        nf: number of feature channels.
        groups: groups of channels that share their offsets; divides ``nf``.
        cascade: align the result once more, by EDVR's cascading deformable convolution.
        recurrent: estimate the motion of a frame with what the frames before it showed (GCP-Net).

    Source:
        Wang et al., "EDVR", CVPR Workshops 2019, section 3.2. Without the cascade: Guo et al., CVPR 2022, section 3.3.
        Recurrent: Guo et al., IEEE TIP 2021, section III.
    """

    def __init__(self, nf: int, groups: int, cascade: bool = False, recurrent: bool = False) -> None:
        super().__init__()
        self.down2 = halving_block(nf)
        self.down3 = halving_block(nf)
        self.level3 = CoarsestLevel(nf, groups, recurrent)
        self.level2 = FinerLevel(nf, groups, recurrent)
        self.level1 = FinerLevel(nf, groups, recurrent)
        self.cascade = CoarsestLevel(nf, groups) if cascade else None
        if recurrent:
            self.level1.compared = nn.Identity()  # no activation here in GCP-Net
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        initialise(self)
        self._reset_offsets()

    def initialise_delta_orthogonal(self) -> None:
        """Make the feature path delta-orthogonal; the layers that estimate motion stay orthogonal."""
        passing = [self.level1.deform, self.level1.fuse, self.level2.deform, self.level2.fuse, self.level3.deform]
        if self.cascade is not None:
            passing.append(self.cascade.deform)
        for layer in (self.down2, self.down3, *passing):
            initialise_delta_orthogonal(layer)
        self._reset_offsets()

    def _reset_offsets(self) -> None:
        for layer in self.modules():
            if isinstance(layer, ModulatedDeformConv):
                layer.reset_offsets()

    def forward(self, features: Tensor, guide: Tensor | None = None) -> Tensor:
        """Align all frames to frame N // 2.

        Args:
            features: features to align, (B, N, nf, H, W); H and W multiples of 4.
            guide: features that motion is estimated from, the same shape; None: ``features``.

        Returns:
            Aligned features, the same shape.
        """
        batch, frames = features.shape[:2]
        features1 = features.flatten(0, 1)
        features2 = self.down2(features1)
        features3 = self.down3(features2)
        if guide is None:
            guide1, guide2, guide3 = features1, features2, features3
        else:
            guide1 = guide.flatten(0, 1)
            guide2 = self.down2(guide1)
            guide3 = self.down3(guide2)

        def reference(maps: Tensor) -> Tensor:
            return maps.unflatten(0, (batch, frames))[:, frames // 2]

        aligned, motion = self.level3(features3, guide3, reference(guide3))
        aligned, motion = self.level2(features2, guide2, reference(guide2), self.activation(aligned), motion)
        aligned, _ = self.level1(features1, guide1, reference(guide1), self.activation(aligned), motion)
        if self.cascade is not None:
            aligned, _ = self.cascade(aligned, aligned, reference(features1))
            aligned = self.activation(aligned)
        return aligned.unflatten(0, (batch, frames))


class Comparison(nn.Conv2d):
    """A 3x3 convolution of the features of every frame concatenated with those of the reference frame.

    Args:
        nf: number of feature channels.
    """

    def __init__(self, nf: int) -> None:
        super().__init__(2 * nf, nf, 3, padding=1)

    def forward(self, features: Tensor, reference: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve; the reference's share is computed once.

        Args:
            features: features of all frames, (B * N, nf, H, W).
            reference: features of the reference frames, (B, nf, H, W).

        Returns:
            (B * N, nf, H, W).
        """
        of_frame, of_reference = self.weight.chunk(2, dim=1)
        output = F.conv2d(features, of_frame, self.bias, padding=1)
        shared = F.conv2d(reference, of_reference, padding=1)
        output.unflatten(0, (reference.shape[0], -1)).add_(shared.unsqueeze(1))
        return output


class PyramidLevel(nn.Module):
    """What both kinds of levels begin with: every frame is compared with the reference frame.

    Args:
        nf: number of feature channels.
        recurrent: pass the estimated motion through an LSTM along the frames.
    """

    def __init__(self, nf: int, recurrent: bool) -> None:
        super().__init__()
        self.compare = Comparison(nf)
        self.compared: nn.Module = nn.LeakyReLU(SLOPE, inplace=True)
        self.memory = MotionLSTM(nf) if recurrent else None
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def estimate(self, guide: Tensor, reference: Tensor) -> Tensor:
        """Compute motion features, (B * N, nf, H, W), of frames of that shape towards references (B, nf, H, W)."""
        motion = self.compared(self.compare(guide, reference))
        if self.memory is not None:
            motion = self.memory(motion.unflatten(0, (reference.shape[0], -1))).flatten(0, 1)
        return motion


class CoarsestLevel(PyramidLevel):
    """A level without one below it.

    Args:
        nf: number of feature channels.
        groups: groups of channels that share their offsets.
        recurrent: pass the estimated motion through an LSTM along the frames.
    """

    def __init__(self, nf: int, groups: int, recurrent: bool = False) -> None:
        super().__init__(nf, recurrent)
        self.refine = nn.Conv2d(nf, nf, 3, padding=1)
        self.deform = ModulatedDeformConv(nf, groups)

    def forward(self, features: Tensor, guide: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Align features to the reference frame.

        Args:
            features: features to align, of all frames, (B * N, nf, H, W).
            guide: features of the frames that motion is estimated from, the same shape.
            reference: features of the reference frames that ``guide`` is compared with, (B, nf, H, W).

        Returns:
            Aligned features before an activation, and the motion features that the offsets were predicted from.
        """
        motion = self.activation(self.refine(self.estimate(guide, reference)))
        return self.deform(features, motion), motion


class FinerLevel(PyramidLevel):
    """A level that takes motion and aligned features from the level below, half its size.

    Args:
        nf: number of feature channels.
        groups: groups of channels that share their offsets.
        recurrent: pass the estimated motion through an LSTM along the frames.
    """

    def __init__(self, nf: int, groups: int, recurrent: bool = False) -> None:
        super().__init__(nf, recurrent)
        self.merge = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.refine = nn.Conv2d(nf, nf, 3, padding=1)
        self.deform = ModulatedDeformConv(nf, groups)
        self.fuse = nn.Conv2d(2 * nf, nf, 3, padding=1)

    def forward(
        self, features: Tensor, guide: Tensor, reference: Tensor, below: Tensor, motion_below: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Align as the coarsest level does, with aligned and motion features from below, half the size."""
        motion = self.estimate(guide, reference)
        # A displacement of one pixel below is one of two pixels here.
        motion = self.activation(self.merge(torch.cat((motion, double(2 * motion_below)), dim=1)))
        motion = self.activation(self.refine(motion))
        aligned = self.deform(features, motion)
        of_aligned, of_below = self.fuse.weight.chunk(2, dim=1)
        fused = convolve_precisely(aligned, of_aligned, self.fuse.bias)
        return add(F.conv2d(double(below), of_below, padding=1), fused), motion


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
        for parameter in self.predictor.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, motion: Tensor) -> Tensor:  # type: ignore[override]
        """Deform ``x`` (B, channels, H, W) by offsets and masks predicted from ``motion`` (the same shape)."""
        if self.training or x.is_cuda or is_exporting():
            return self._deform(x, motion)
        frames = max(1, OFFSET_BYTES // (self.predictor.out_channels * x[0, 0].nbytes))
        parts = zip(x.split(frames), motion.split(frames), strict=True)
        return torch.cat([self._deform(*part) for part in parts])

    def _deform(self, x: Tensor, motion: Tensor) -> Tensor:
        offset, mask = self._predict(motion)
        if self.training:
            self.mean_offset = offset.detach().abs().mean()
        # On a GPU, exact products of float32 would be many times slower than all others.
        x = x.to(dtype_of_products(self.weight) if x.is_cuda else self.weight.dtype)
        with full_precision(x.device):
            return deform_conv2d(x, offset, self.weight, self.bias, torch.sigmoid(mask.to(offset.dtype)))

    def _predict(self, motion: Tensor) -> tuple[Tensor, Tensor]:
        """Predict offsets and, before the sigmoid, masks."""
        if not motion.is_cuda:
            motion = motion.contiguous()  # there, they are read plane by plane
        split = (2 * self.offset_groups * 9, self.offset_groups * 9)
        of_offset, of_mask = self.predictor.weight.split(split)
        bias_of_offset, bias_of_mask = cast(Tensor, self.predictor.bias).split(split)
        # Offsets keep full precision: bfloat16 has steps of 1/16 pixel above 8 pixels.
        offset = convolve_precisely(motion, of_offset, bias_of_offset)
        return offset, F.conv2d(motion, of_mask, bias_of_mask, padding=1)


def deformable_layers(network: nn.Module) -> dict[str, nn.Module]:
    """Layers of a network that move their kernels, by name.

    A layer of any class is one if it has an attribute `mean_offset`: mean absolute offset of its latest forward pass in
    training mode, in pixels, None before one. Training may give such layers a learning rate of their own, and warns of
    large offsets.
    """
    return {name: layer for name, layer in network.named_modules() if hasattr(layer, "mean_offset")}
