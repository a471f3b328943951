"""The single-frame network: features and reconstruction of `TwoStageNet`, without the burst."""

import torch
from torch import Tensor

from twostagealign.archs.blocks import check_width, initialise_delta_orthogonal, is_delta
from twostagealign.archs.frames import BurstNetwork, FrameFeatures, check_burst
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.runtime.bounds import Channels


class SingleFrameNet(BurstNetwork):
    """Restore the reference frame of a raw burst from that frame alone: the baseline for burst networks.

    The weights have the same names as in `TwoStageNet`, whose training may start from them.

    Args:
        nf: number of feature channels; positive and even.
        residual: add the result to the demosaicked reference frame; False: produce the whole picture.
        initialisation: "orthogonal" or "delta_orthogonal"; see `initialise_delta_orthogonal`.

    Attributes:
        nf: number of feature channels.

    Raises:
        ValueError: ``nf`` is invalid, or the initialisation unknown.
    """

    def __init__(self, nf: Channels = 64, residual: bool = False, initialisation: str = "orthogonal") -> None:
        super().__init__()
        check_width(nf)
        self.nf = nf
        self.features = FrameFeatures(nf)
        self.reconstruction = ReconstructionUNet(nf)
        self.residual = residual
        if is_delta(initialisation):
            initialise_delta_orthogonal(self)
        if residual:
            self.reconstruction.start_at_zero()

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        """Restore frame c = N // 2 from itself; see `BurstNetwork`. There is no interpolation branch."""
        check_burst(lq, noise_map)
        reference = slice(lq.shape[1] // 2, lq.shape[1] // 2 + 1)
        return super().forward(lq[:, reference], noise_map[:, reference])

    def restore(self, images: Tensor, burst: torch.Size, interpolation: bool) -> Tensor:
        """See `BurstNetwork`."""
        return self.reconstruction(self.features(images))
