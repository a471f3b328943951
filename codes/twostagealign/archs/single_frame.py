"""The single-frame network: features and reconstruction of `TwoStageNet`, without the burst."""

from torch import Tensor, nn

from twostagealign.archs.blocks import check_width, initialise_delta_orthogonal, is_delta
from twostagealign.archs.frames import FrameFeatures, as_images, check_burst, starting_point
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.runtime.bounds import Channels


class SingleFrameNet(nn.Module):
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
        """Restore frame c = N // 2.

        Args:
            lq: noisy raw planes (R, G1, G2, B) in [0, 1], (B, N, 4, H, W).
            noise_map: standard deviation of the noise of every value, the shape of ``lq``.
            interpolation: no effect: this network has no interpolation branch.

        Returns:
            Linear camera RGB, (B, 3, 2H, 2W).

        Raises:
            ValueError: a shape is not the expected one.
        """
        check_burst(lq, noise_map)
        height, width = lq.shape[-2:]
        reference = slice(lq.shape[1] // 2, lq.shape[1] // 2 + 1)
        images = as_images(lq[:, reference], noise_map[:, reference])
        picture = self.reconstruction(self.features(images))
        if self.residual:
            picture = picture + starting_point(images[:, None, :4])
        return picture[..., : 2 * height, : 2 * width]
