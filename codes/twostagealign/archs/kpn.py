"""Kernel prediction: every raw pixel of the result is a weighted sum of the burst's pixels around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs.blocks import check_width, double, initialise
from twostagealign.archs.frames import as_images, check_burst
from twostagealign.isp import demosaic
from twostagealign.runtime.bounds import Channels, Frames
from twostagealign.runtime.precision import full_precision

KERNEL = 5
"""Side of the kernels, raw pixels of a plane."""


class KPN(nn.Module):
    """Denoise the reference frame of a raw burst by predicted kernels, then demosaic it.

    A U-Net predicts a kernel of 5 x 5 weights for each pixel of each raw plane of each frame. The filtered frames are
    averaged. Gradient-corrected linear interpolation (Malvar, `isp.demosaic`) makes linear RGB of the result.

    Args:
        nf: number of feature channels at the finest level; positive and even.
        frames: number of frames N of a burst, whose kernels are predicted together.
        per_frame: in training mode, also give what each frame alone makes of the picture.

    Attributes:
        nf: number of feature channels at the finest level.
        multiple: height and width that the network works on are multiples of this number, raw pixels.

    Raises:
        ValueError: ``nf`` or ``frames`` is invalid.

    Source:
        Mildenhall et al., "Burst Denoising with Kernel Prediction Networks", CVPR 2018.

    Example:
        >>> lq = torch.rand(1, 5, 4, 8, 12)
        >>> KPN(nf=8)(lq, torch.full_like(lq, 0.02)).shape
        torch.Size([1, 3, 16, 24])
    """

    multiple: int = 16

    def __init__(self, nf: Channels = 64, frames: Frames = 5, per_frame: bool = False) -> None:
        super().__init__()
        check_width(nf)
        if frames <= 0:
            raise ValueError(f"frames is {frames}, expected a positive number")
        self.nf = nf
        self.frames = frames
        self.per_frame = per_frame
        self.encoder1 = _three_convolutions(8 * frames, nf)
        self.encoder2 = _three_convolutions(nf, 2 * nf)
        self.encoder3 = _three_convolutions(2 * nf, 4 * nf)
        self.encoder4 = _three_convolutions(4 * nf, 8 * nf)
        self.bottleneck = _three_convolutions(8 * nf, 8 * nf)
        self.decoder4 = _three_convolutions(16 * nf, 8 * nf)
        self.decoder3 = _three_convolutions(12 * nf, 4 * nf)
        self.decoder2 = _three_convolutions(6 * nf, 2 * nf)
        self.decoder1 = _three_convolutions(3 * nf, nf)
        self.kernels = nn.Conv2d(nf, frames * 4 * KERNEL**2, 1)
        initialise(self)
        self._start_at_average()

    def _start_at_average(self) -> None:
        """Start training with the average of the frames."""
        nn.init.zeros_(self.kernels.weight)
        identity = torch.zeros(KERNEL, KERNEL)
        identity[KERNEL // 2, KERNEL // 2] = 1
        self.kernels.bias = nn.Parameter(identity.flatten().repeat(4 * self.frames))

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        """Restore frame c = N // 2.

        Args:
            lq: noisy raw planes (R, G1, G2, B) in [0, 1], (B, N, 4, H, W).
            noise_map: standard deviation of the noise of every value, the shape of ``lq``.
            interpolation: no effect: this network has no interpolation branch.

        Returns:
            Linear camera RGB, (B, 3, 2H, 2W). With ``per_frame``, in training mode, the pictures of frame 0, frame 1
            and so on follow on the batch axis: ((1 + N) * B, 3, 2H, 2W).

        Raises:
            ValueError: a shape is not the expected one.
        """
        check_burst(lq, noise_map, self.frames)
        height, width = lq.shape[-2:]
        images = as_images(lq, noise_map, self.multiple)
        bursts = images.unflatten(0, lq.shape[:2])
        kernels = self._predict(bursts.flatten(1, 2))
        # Sums of raw values, and pictures, keep their precision under autocast.
        with full_precision(lq.device):
            filtered = apply_kernels(bursts[:, :, :4], kernels.to(lq.dtype))
            planes = filtered.mean(dim=1)
            if self.per_frame and self.training:
                planes = torch.cat((planes, filtered.transpose(0, 1).flatten(0, 1)))
            return demosaic(planes)[..., : 2 * height, : 2 * width]

    def _predict(self, bursts: Tensor) -> Tensor:
        """Predict kernels, (B, N, 4, 25, H, W), from bursts with their noise maps, (B, N * 8, H, W)."""
        level1 = self.encoder1(bursts)
        level2 = self.encoder2(F.avg_pool2d(level1, 2))
        level3 = self.encoder3(F.avg_pool2d(level2, 2))
        level4 = self.encoder4(F.avg_pool2d(level3, 2))
        below = self.bottleneck(F.avg_pool2d(level4, 2))
        for decoder, level in (
            (self.decoder4, level4),
            (self.decoder3, level3),
            (self.decoder2, level2),
            (self.decoder1, level1),
        ):
            below = decoder(torch.cat((double(below), level), dim=1))
        return self.kernels(below).unflatten(1, (self.frames, 4, KERNEL**2))


def apply_kernels(planes: Tensor, kernels: Tensor) -> Tensor:
    """Filter each pixel with its own kernel. Beyond the border, the outermost pixels are repeated.

    Args:
        planes: raw planes, (B, N, 4, H, W).
        kernels: weights in raster order, (B, N, 4, 25, H, W).

    Returns:
        Filtered planes, the shape of ``planes``.
    """
    height, width = planes.shape[-2:]
    padded = F.pad(planes, (KERNEL // 2,) * 4 + (0, 0), mode="replicate")
    filtered = torch.zeros_like(planes)
    for i in range(KERNEL**2):
        y, x = divmod(i, KERNEL)
        filtered = torch.addcmul(filtered, kernels[:, :, :, i], padded[..., y : y + height, x : x + width])
    return filtered


def _three_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
