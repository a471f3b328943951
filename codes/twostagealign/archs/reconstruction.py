"""From fused features to linear RGB: a three-level U-Net at twice the size of a raw plane."""

import torch
from torch import Tensor, nn

from twostagealign.archs.blocks import AttentionBlock, Modulation, SimpleBlock, initialise, modulate
from twostagealign.runtime.precision import apply_precisely


class ReconstructionUNet(nn.Module):
    """Double the size of fused features and turn them into linear camera RGB.

    Args:
        nf: number of channels at the finest level; the levels below have 2 nf and 4 nf.

    Source:
        Guo et al., CVPR 2022, section 3.3.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(nf, nf, 2, stride=2)
        self.encoder1 = nn.Sequential(SimpleBlock(2, nf, nf, nf), AttentionBlock(nf))
        self.down1 = nn.Conv2d(nf, 2 * nf, 3, stride=2, padding=1)
        self.encoder2 = nn.Sequential(SimpleBlock(2, 2 * nf, 2 * nf, 2 * nf), AttentionBlock(2 * nf))
        self.down2 = nn.Conv2d(2 * nf, 4 * nf, 3, stride=2, padding=1)
        self.bottleneck = nn.Sequential(
            SimpleBlock(2, 4 * nf, 4 * nf, 4 * nf), AttentionBlock(4 * nf), SimpleBlock(2, 4 * nf, 4 * nf, 4 * nf)
        )
        self.up2 = nn.ConvTranspose2d(4 * nf, 2 * nf, 2, stride=2)
        self.decoder2 = nn.Sequential(SimpleBlock(2, 4 * nf, 2 * nf, 2 * nf), AttentionBlock(2 * nf))
        self.up1 = nn.ConvTranspose2d(2 * nf, nf, 2, stride=2)
        self.decoder1 = SimpleBlock(3, 2 * nf, nf, 3)
        initialise(self)

    def start_at_zero(self) -> None:
        """Start training with a result of zero."""
        nn.init.zeros_(self.decoder1.last.weight)

    def forward(self, features: Tensor, modulation: Modulation | None = None) -> Tensor:
        """Reconstruct.

        Args:
            features: fused features, (B, nf, H, W); H and W even.
            modulation: scale and shift of the upsampled features, (B, nf, 2H, 2W) each.

        Returns:
            Linear camera RGB, (B, 3, 2H, 2W).
        """
        full_size = apply_precisely(self.upsample, features)
        if modulation is not None:
            full_size = modulate(full_size, modulation)
        level1 = self.encoder1[1](apply_precisely(self.encoder1[0], full_size))
        level2 = self.encoder2(self.down1(level1))
        level3 = self.bottleneck(self.down2(level2))
        level2 = self.decoder2(torch.cat((self.up2(level3), level2), dim=1))
        return apply_precisely(self.decoder1, torch.cat((self.up1(level2), level1), dim=1))
