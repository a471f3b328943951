"""The network of the second stage: from a coarsely aligned raw burst to linear RGB."""

import torch
from torch import Tensor

from twostagealign.archs.bigru import BidirectionalGRU
from twostagealign.archs.blocks import check_width, initialise_delta_orthogonal, is_delta
from twostagealign.archs.frames import BurstNetwork, FrameFeatures, check_burst
from twostagealign.archs.pcd_align import PCDAlignment
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.merging import align_to_reference, merge_reference
from twostagealign.runtime.bounds import Channels
from twostagealign.runtime.exporting import is_exporting
from twostagealign.runtime.precision import dtype_of_products, full_precision

# CPU activation budget per layer, bytes.
CACHE_BYTES = 8 * 2**20


class TwoStageNet(BurstNetwork):
    """Restore the reference frame of a raw burst: per-frame features, alignment, fusion over time, reconstruction.

    Args:
        nf: number of feature channels; positive, even, a multiple of ``groups``.
        groups: groups of channels that share their offsets in the alignment.
        align: False leaves the alignment out: the features of all frames are fused as they are.
        residual: add the result to the demosaicked reference frame (the interpolation branch: to the demosaicked mean
            of the other frames), which training then starts from; False: produce the whole picture, as in the paper.
        initialisation: "orthogonal", as in the paper, or "delta_orthogonal"; see `initialise_delta_orthogonal`.
        dense_search: before anything else, bring the neighbours to the reference frame to fractions of a pixel; see
            `align_to_reference`.
        merge: then replace the reference frame by the average of the burst; see `merge_reference`.

    Attributes:
        nf: number of feature channels.

    Raises:
        ValueError: ``nf`` or ``groups`` is invalid, or the initialisation unknown.

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
        dense_search: bool = False,
        merge: bool = False,
    ) -> None:
        super().__init__()
        check_width(nf, groups)
        self.nf = nf
        self.features = FrameFeatures(nf)
        self.alignment = PCDAlignment(nf, groups) if align else None
        self.fusion = BidirectionalGRU(nf)
        self.reconstruction = ReconstructionUNet(nf)
        self.residual = residual
        self.dense_search = dense_search
        self.merge = merge
        if is_delta(initialisation):
            for part in (self.features, self.fusion, self.reconstruction):
                initialise_delta_orthogonal(part)
            if self.alignment is not None:
                self.alignment.initialise_delta_orthogonal()
        if residual:
            self.reconstruction.start_at_zero()

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        """Restore frame c = N // 2; see `BurstNetwork`. The interpolation branch sees the other frames alone."""
        check_burst(lq, noise_map)
        if not (interpolation or lq.is_cuda or torch.is_grad_enabled() or is_exporting()) and len(lq) > 1:
            # The caches of a CPU hold the features of few bursts at a time.
            burst_bytes = lq[0, :, 0].numel() * self.nf * dtype_of_products(lq).itemsize
            bursts = max(1, CACHE_BYTES // burst_bytes)
            parts = zip(lq.split(bursts), noise_map.split(bursts), strict=True)
            return torch.cat([self._restore_at_once(*part, interpolation) for part in parts])
        return self._restore_at_once(lq, noise_map, interpolation)

    def _restore_at_once(self, lq: Tensor, noise_map: Tensor, interpolation: bool) -> Tensor:
        with full_precision(lq.device):
            if self.dense_search:
                lq, noise_map = align_to_reference(lq, noise_map)
            if self.merge:
                lq, noise_map = merge_reference(lq, noise_map)
        return super().forward(lq, noise_map, interpolation)

    def restore(self, images: Tensor, burst: torch.Size, interpolation: bool) -> Tensor:
        """See `BurstNetwork`."""
        features = self.features(images).unflatten(0, burst)
        if self.alignment is not None:
            features = self.alignment(features)
        return self.reconstruction(self.fusion(features, interpolation))
