"""The network of the second stage: from a coarsely aligned raw burst to linear RGB."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs.bigru import BidirectionalGRU
from twostagealign.archs.blocks import AttentionBlock, SimpleBlock, initialise, initialise_delta_orthogonal
from twostagealign.archs.pcd_align import PCDAlignment
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.isp import demosaic
from twostagealign.runtime.bounds import Channels

# Features of so many bytes per layer are processed at a time on a processor.
_CACHE_BYTES = 8 * 2**20


class FrameFeatures(nn.Sequential):
    """Features of one raw frame and its noise map, (B, 8, H, W) -> (B, nf, H, W).

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


class TwoStageNet(nn.Module):
    """Restore the reference frame of a raw burst: per-frame features, alignment, fusion over time, reconstruction.

    Args:
        nf: number of feature channels; positive, even, a multiple of ``groups``.
        groups: groups of channels that share their offsets in the alignment.
        align: False leaves the alignment out: the features of all frames are fused as they are.
        residual: add the result to the demosaicked reference frame (the interpolation branch: to the demosaicked mean
            of the other frames), instead of making the whole picture, as in the paper. The training starts with that
            frame.
        initialisation: "orthogonal", as in the paper, or "delta_orthogonal"; see `initialise_delta_orthogonal`.

    Attributes:
        nf: as above.

    Raises:
        ValueError: if ``nf`` or ``groups`` is unfit or the initialisation unknown.

    Source:
        Guo et al., "A Differentiable Two-stage Alignment Scheme for Burst Image Reconstruction with Large Shift",
        CVPR 2022, section 3.3.

    Example:
        >>> lq = torch.rand(1, 5, 4, 8, 12)
        >>> TwoStageNet(nf=8)(lq, torch.full_like(lq, 0.02)).shape
        torch.Size([1, 3, 16, 24])
    """

    def __init__(
        self,
        nf: Channels = 64,
        groups: Channels = 8,
        align: bool = True,
        residual: bool = False,
        initialisation: str = "orthogonal",
    ) -> None:
        super().__init__()
        if groups <= 0:
            raise ValueError(f"groups is {groups}, expected a positive number")
        if nf <= 0 or nf % 2 or nf % groups:
            raise ValueError(f"nf is {nf}, expected a positive even multiple of groups = {groups}")
        self.nf = nf
        self.features = FrameFeatures(nf)
        self.alignment = PCDAlignment(nf, groups) if align else None
        self.fusion = BidirectionalGRU(nf)
        self.reconstruction = ReconstructionUNet(nf)
        self.residual = residual
        if is_delta(initialisation):
            for part in (self.features, self.fusion, self.reconstruction):
                initialise_delta_orthogonal(part)
            if self.alignment is not None:
                self.alignment.initialise_delta_orthogonal()
        if residual:
            self.reconstruction.start_at_zero()

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        """Restore frame c = N // 2.

        Inside, H and W are extended to multiples of 4 by repeating the last row and column, and the result is cropped.

        Args:
            lq: noisy raw planes (R, G1, G2, B) in [0, 1], (B, N, 4, H, W).
            noise_map: standard deviation of the noise of every value, the shape of ``lq``.
            interpolation: also restore frame c from its neighbours alone (a training signal for the fusion).

        Returns:
            Linear camera RGB, (B, 3, 2H, 2W), or (2B, 3, 2H, 2W) with the interpolation branch stacked after the main
            result.

        Raises:
            ValueError: if a shape is not the expected one.
        """
        check_burst(lq, noise_map)
        if len(lq) > 1 and not (interpolation or lq.is_cuda or torch.is_grad_enabled()):
            # The caches of a processor hold the features of few bursts at a time.
            burst_bytes = lq[0, :, 0].numel() * self.nf * lq.itemsize
            bursts = max(1, _CACHE_BYTES // burst_bytes)
            parts = zip(lq.split(bursts), noise_map.split(bursts), strict=True)
            return torch.cat([self._restore(*part, interpolation) for part in parts])
        return self._restore(lq, noise_map, interpolation)

    def _restore(self, lq: Tensor, noise_map: Tensor, interpolation: bool) -> Tensor:
        """Do what ``forward`` promises for checked arguments."""
        height, width = lq.shape[-2:]
        images = as_images(lq, noise_map)
        features = self.features(images).unflatten(0, lq.shape[:2])
        if self.alignment is not None:
            features = self.alignment(features)
        picture = self.reconstruction(self.fusion(features, interpolation))
        if self.residual:
            picture = picture + starting_point(images[:, :4].unflatten(0, lq.shape[:2]), interpolation)
        return picture[..., : 2 * height, : 2 * width]


def is_delta(initialisation: str) -> bool:
    """Whether a network's ``initialisation`` is "delta_orthogonal"; a ValueError if it is not "orthogonal" either."""
    if initialisation not in ("orthogonal", "delta_orthogonal"):
        raise ValueError(f"initialisation is {initialisation!r}, expected 'orthogonal' or 'delta_orthogonal'")
    return initialisation == "delta_orthogonal"


def starting_point(lq: Tensor, interpolation: bool) -> Tensor:
    """What a residual is added to.

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
    with torch.autocast(lq.device.type, enabled=False):
        return demosaic(planes)


def check_burst(lq: Tensor, noise_map: Tensor) -> None:
    """Raise a ValueError if `lq` is no raw burst, (B, N, 4, H, W), or `noise_map` has another shape."""
    if lq.dim() != 5 or lq.shape[2] != 4:
        raise ValueError(f"lq has shape {tuple(lq.shape)}, expected (B, N, 4, H, W)")
    if noise_map.shape != lq.shape:
        raise ValueError(f"noise_map has shape {tuple(noise_map.shape)}, expected that of lq, {tuple(lq.shape)}")


def as_images(lq: Tensor, noise_map: Tensor) -> Tensor:
    """Lay out the frames of raw bursts for the convolutions.

    Args:
        lq: (B, N, 4, H, W).
        noise_map: of the same shape.

    Returns:
        Frames and noise maps, (B * N, 8, H, W), extended to multiples of 4 by repeating the last row and column.
    """
    height, width = lq.shape[-2:]
    # With the channels of a pixel side by side, convolutions need no rearranging of their inputs and outputs. The
    # layout passes from layer to layer; weights keep theirs.
    frames = torch.cat((lq, noise_map), dim=2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    if height % 4 or width % 4:
        frames = F.pad(frames, (0, -width % 4, 0, -height % 4), mode="replicate")
    return frames
