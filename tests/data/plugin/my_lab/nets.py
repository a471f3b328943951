"""A network."""

import torch
from torch import Tensor, nn

from twostagealign.api.extending import NETWORKS


@NETWORKS.register
class ShallowNet(nn.Module):
    """Restores the reference frame from the mean of all frames.

    Args:
        channels: number of feature channels.
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(8, channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, 12, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        """Raw bursts (B, N, 4, H, W) and their noise maps to linear RGB (B, 3, 2H, 2W)."""
        return self.layers(torch.cat((lq, noise_map), dim=2).mean(dim=1))
