"""From a raw burst to the features of its frames: what every network starts with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs.blocks import AttentionBlock, Modulation, SimpleBlock, initialise
from twostagealign.isp import demosaic
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.precision import apply_precisely, full_precision


def check_burst(lq: Tensor, noise_map: Tensor, frames: int | None = None) -> None:
    """Check the shapes of a network's inputs.

    Args:
        lq: raw bursts, (B, N, 4, H, W).
        noise_map: noise map of the same shape.
        frames: number of frames that the network was made for; None: any.

    Raises:
        ValueError: a shape is not the expected one.
    """
    if lq.dim() != 5 or lq.shape[2] != 4:
        raise ValueError(f"lq has shape {tuple(lq.shape)}, expected (B, N, 4, H, W)")
    if noise_map.shape != lq.shape:
        raise ValueError(f"noise_map has shape {tuple(noise_map.shape)}, expected that of lq, {tuple(lq.shape)}")
    if frames is not None and lq.shape[1] != frames:
        raise ValueError(f"lq has {lq.shape[1]} frames, but this network was made for {frames}")


def check_frames(network: nn.Module, frames: int) -> None:
    """Check that a network can restore bursts of a length.

    Raises:
        UserError: the network was made for another number of frames.
    """
    made_for = getattr(network, "frames", frames)
    if made_for != frames:
        name = type(network).__name__
        raise UserError(f"this {name} was made for bursts of {made_for} frames, not {frames}; use {made_for} frames")


def as_images(lq: Tensor, noise_map: Tensor, multiple: int) -> Tensor:
    """Lay out the frames of raw bursts for the convolutions.

    Args:
        lq: raw bursts, (B, N, 4, H, W).
        noise_map: noise map of the same shape.
        multiple: H and W are extended to multiples of this number by repeating the last row and column.

    Returns:
        Frames and noise maps, (B * N, 8, H, W) with the extended H and W.
    """
    height, width = lq.shape[-2:]
    # With the channels of a pixel side by side, convolutions need no rearranging of their inputs and outputs. The
    # layout passes from layer to layer; weights keep theirs.
    images = torch.cat((lq, noise_map), dim=2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    if height % multiple or width % multiple:
        images = F.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
    return images


class BurstNetwork(nn.Module):
    """A network that restores the reference frame of raw bursts. Subclasses define `restore`.

    Attributes:
        residual: add the result to the demosaicked reference frame, and that of the interpolation branch to the
            demosaicked mean of the other frames.
        multiple: height and width that the network works on are multiples of this number, raw pixels.
    """

    residual: bool = False
    multiple: int = 4

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        """Restore frame c = N // 2.

        H and W are extended to multiples of `multiple` by repeating the last row and column, and the result is cropped.

        Args:
            lq: noisy raw planes (R, G1, G2, B) in [0, 1], (B, N, 4, H, W).
            noise_map: standard deviation of the noise of every value, the shape of ``lq``.
            interpolation: run the network's interpolation branch too, if it has one.

        Returns:
            Linear camera RGB, (B, 3, 2H, 2W), or (2B, 3, 2H, 2W) with the interpolation branch stacked after the main
            result.

        Raises:
            ValueError: a shape is not the expected one.
        """
        check_burst(lq, noise_map, getattr(self, "frames", None))
        height, width = lq.shape[-2:]
        images = as_images(lq, noise_map, self.multiple)
        picture = self.restore(images, lq.shape[:2], interpolation)
        if self.residual:
            stacked = picture.shape[0] > lq.shape[0]
            picture = picture + starting_point(images[:, :4].unflatten(0, lq.shape[:2]), stacked)
        return picture[..., : 2 * height, : 2 * width]

    def restore(self, images: Tensor, burst: torch.Size, interpolation: bool) -> Tensor:
        """Restore bursts of checked shapes.

        Args:
            images: frames and noise maps, (B * N, 8, H, W); H and W multiples of 4.
            burst: B and N.
            interpolation: run the interpolation branch too.
        """
        raise NotImplementedError


class FrameFeatures(nn.Module):
    """Features of one raw frame and its noise map.

    Args:
        nf: number of feature channels, even.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.stem = SimpleBlock(5, 8, nf, nf)
        self.attention1 = AttentionBlock(nf)
        self.attention2 = AttentionBlock(nf)
        self.attention3 = AttentionBlock(nf)
        self.attention4 = AttentionBlock(nf)
        initialise(self)

    def forward(self, images: Tensor, modulations: Sequence[Modulation | None] = (None,) * 4) -> Tensor:
        """Compute features.

        Args:
            images: frames and noise maps, (B, 8, H, W).
            modulations: scale and shift for each of the four attention blocks.

        Returns:
            Features, (B, nf, H, W).
        """
        features = apply_precisely(self.stem, images)
        blocks = (self.attention1, self.attention2, self.attention3, self.attention4)
        for block, modulation in zip(blocks, modulations, strict=True):
            features = block(features, modulation)
        return features


def starting_point(lq: Tensor, interpolation: bool = False) -> Tensor:
    """Demosaic what a residual network adds its result to.

    Args:
        lq: raw bursts, (B, N, 4, H, W).
        interpolation: stack the demosaicked mean of the other frames after the demosaicked reference frame.

    Returns:
        Linear camera RGB, (B, 3, 2H, 2W) or (2B, 3, 2H, 2W).
    """
    before, reference, after = lq.tensor_split((lq.shape[1] // 2, lq.shape[1] // 2 + 1), dim=1)
    planes = reference[:, 0]
    if interpolation:
        others = torch.cat((before, after), dim=1)
        planes = torch.cat((planes, others.sum(dim=1) / max(1, others.shape[1])))
    # The picture keeps the precision of the raw values under autocast.
    with full_precision(lq.device):
        return demosaic(planes)
