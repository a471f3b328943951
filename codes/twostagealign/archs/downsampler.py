"""The small network that computes the features for block matching."""

import torch
from torch import Tensor, nn

from twostagealign.archs.blocks import SLOPE, initialise
from twostagealign.runtime.bounds import Channels


class LowResolutionFeatures(nn.Module):
    """Features of noisy raw frames at a quarter of their size, for block matching.

    Args:
        channels: number of features.

    Source:
        Guo et al., CVPR 2022, section 3.2.
    """

    scale = 4

    def __init__(self, channels: Channels = 16) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(4, channels, 3, stride=2, padding=1, bias=False),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(channels, channels, 3, stride=2, padding=1, bias=False),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.InstanceNorm2d(channels),
        )
        initialise(self)

    def forward(self, raw: Tensor) -> Tensor:
        """Compute the features of every frame.

        Args:
            raw: noisy raw planes in [0, 1], (..., 4, H, W); H and W multiples of 4.

        Returns:
            Features, (..., channels, H / 4, W / 4); each channel of each frame has mean 0 and variance 1.

        Raises:
            ValueError: ``raw`` does not have four planes, or H or W is not a multiple of 4.
        """
        if raw.dim() < 3 or raw.shape[-3] != 4 or raw.shape[-2] % self.scale or raw.shape[-1] % self.scale:
            raise ValueError(
                f"raw has shape {tuple(raw.shape)}, expected (..., 4, H, W) with H and W multiples of {self.scale}"
            )
        # Whole frames pass convolutions twice as fast in channels_last, and the normalisation four times as slowly.
        images = raw.reshape(-1, *raw.shape[-3:]).contiguous(memory_format=torch.channels_last)
        features = self.layers[-1](self.layers[:-1](images).contiguous())
        return features.view(*raw.shape[:-3], *features.shape[-3:])
