"""What one frame gives: the features and the reconstruction of `TwoStageNet`, without the burst."""

from torch import Tensor, nn

from twostagealign.archs.blocks import initialise_delta_orthogonal
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.archs.two_stage import FrameFeatures, as_images, check_burst, is_delta, starting_point
from twostagealign.runtime.bounds import Channels


class SingleFrameNet(nn.Module):
    """Restore the reference frame of a raw burst from itself alone: what a burst is worth is measured against it.

    Its weights have the names that they have in `TwoStageNet`, whose training may start from them.

    Args:
        nf: number of feature channels; positive and even.
        residual: as in `TwoStageNet`.
        initialisation: as in `TwoStageNet`.

    Attributes:
        nf: as above.

    Raises:
        ValueError: if ``nf`` is unfit or the initialisation unknown.
    """

    def __init__(self, nf: Channels = 64, residual: bool = False, initialisation: str = "orthogonal") -> None:
        super().__init__()
        if nf <= 0 or nf % 2:
            raise ValueError(f"nf is {nf}, expected a positive even number")
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
            interpolation: without effect: there is no branch that the neighbours alone lead to.

        Returns:
            Linear camera RGB, (B, 3, 2H, 2W).

        Raises:
            ValueError: if a shape is not the expected one.
        """
        check_burst(lq, noise_map)
        height, width = lq.shape[-2:]
        reference = slice(lq.shape[1] // 2, lq.shape[1] // 2 + 1)
        images = as_images(lq[:, reference], noise_map[:, reference])
        picture = self.reconstruction(self.features(images))
        if self.residual:
            picture = picture + starting_point(images[:, None, :4], interpolation=False)
        return picture[..., : 2 * height, : 2 * width]
