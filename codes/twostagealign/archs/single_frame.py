"""What one frame gives: the features and the reconstruction of `TwoStageNet`, without the burst."""

from torch import Tensor, nn

from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.archs.two_stage import FrameFeatures, as_images, check_burst


class SingleFrameNet(nn.Module):
    """Restore the reference frame of a raw burst from itself alone: what a burst is worth is measured against it.

    Its weights have the names that they have in `TwoStageNet`, whose training may start from them.

    Args:
        nf: number of feature channels; positive and even.

    Raises:
        ValueError: if ``nf`` is unfit.
    """

    def __init__(self, nf: int = 64) -> None:
        super().__init__()
        if nf <= 0 or nf % 2:
            raise ValueError(f"nf is {nf}, expected a positive even number")
        self.features = FrameFeatures(nf)
        self.reconstruction = ReconstructionUNet(nf)

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
        features = self.features(as_images(lq[:, reference], noise_map[:, reference]))
        return self.reconstruction(features)[..., : 2 * height, : 2 * width]
