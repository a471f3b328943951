"""Convolution blocks that the networks share, and how their weights start."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.runtime.exporting import is_exporting

SLOPE = 0.1
"""Negative slope of every LeakyReLU."""

Modulation = tuple[Tensor, Tensor]
"""Scale and shift of features, both of the shape of the features."""


def modulate(features: Tensor, modulation: Modulation) -> Tensor:
    """Multiply features by the scale and add the shift."""
    scale, shift = modulation
    return torch.addcmul(shift, features, scale)


def add(change: Tensor, x: Tensor) -> Tensor:
    """Sum of features and the output of a layer, which is overwritten, in the dtype of the features.

    Under autocast, the features therefore keep their precision through many such sums.
    """
    # Into memory that no gradient needs: new memory costs more than adding, and a sum of two dtypes more than a copy.
    return change.to(x.dtype).add_(x)


class SimpleBlock(nn.Sequential):
    """``depth`` 3x3 convolutions with LeakyReLU between them; only the first one has a bias.

    Maps (B, in_channels, H, W) to (B, out_channels, H, W).

    Args:
        depth: number of convolutions, at least 2.
        in_channels: channels of the input.
        mid_channels: channels between the convolutions.
        out_channels: channels of the output.

    Raises:
        ValueError: if ``depth`` is less than 2.
    """

    def __init__(self, depth: int, in_channels: int, mid_channels: int, out_channels: int) -> None:
        if depth < 2:
            raise ValueError(f"depth of a SimpleBlock is {depth}, expected at least 2")
        layers: list[nn.Module] = [nn.Conv2d(in_channels, mid_channels, 3, padding=1)]
        for _ in range(depth - 2):
            layers += [
                nn.LeakyReLU(SLOPE, inplace=True),
                nn.Conv2d(mid_channels, mid_channels, 3, padding=1, bias=False),
            ]
        layers += [nn.LeakyReLU(SLOPE, inplace=True), nn.Conv2d(mid_channels, out_channels, 3, padding=1, bias=False)]
        super().__init__(*layers)

    @property
    def last(self) -> nn.Conv2d:
        """The last convolution."""
        return cast(nn.Conv2d, self[-1])


class AttentionBlock(nn.Module):
    """Three residual refinements, then a gate per channel and a gate per pixel, both added to the identity.

    Args:
        channels: channels of input and output, even.

    Source:
        Guo et al., IEEE TIP 2021, section III (GCP-Net); Guo et al., CVPR 2022, section 3.3.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.square = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.extract = nn.Conv2d(channels, channels, 3, padding=1)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)
        self.refine1 = SimpleBlock(2, channels, channels, channels)
        self.refine2 = SimpleBlock(2, channels, channels, channels)
        self.squeeze = nn.Conv2d(channels, channels // 2, 1)
        self.excite = nn.Conv2d(channels // 2, channels, 1)
        self.spatial = PixelGate(channels)

    def forward(self, x: Tensor, modulation: Modulation | None = None) -> Tensor:
        """Refine and gate.

        Args:
            x: features, (B, channels, H, W).
            modulation: scale and shift of the first convolution's output, each (B, channels, H, W).

        Returns:
            Features of the same shape.
        """
        squared = self.square(x)
        if modulation is not None:
            squared = modulate(squared, modulation)
        x = add(self.extract(self.activation(squared)), x)
        x = add(self.refine1(x), x)
        x = add(self.refine2(x), x)
        mean = x.mean(dim=(2, 3), keepdim=True)
        channel_gate = torch.sigmoid(self.excite(self.activation(self.squeeze(mean)))).to(x.dtype)
        pixel_gate = torch.sigmoid(self.spatial(x)).to(x.dtype)
        return (x * (1 + channel_gate)).addcmul_(x, pixel_gate)


class PixelGate(nn.Conv2d):
    """A 7x7 convolution to a single channel, (B, channels, H, W) -> (B, 1, H, W).

    Args:
        channels: channels of the input.
    """

    bias: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        if x.is_cuda or is_exporting():
            return super().forward(x)
        # One output channel would use one lane of the CPU's vectors. Instead, each of the seven columns of the kernel
        # makes a channel, and pixel x of the result is the sum of pixels x + k of channels k.
        columns = F.conv2d(x, self.weight.permute(3, 1, 2, 0), padding=3)
        return columns.unfold(-1, 7, 1).diagonal(dim1=1, dim2=-1).sum(-1).unsqueeze(1) + self.bias


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a ReLU between them, added to the identity.

    The weights start small, at a tenth of He initialisation, so that deep stacks start close to the identity.

    Args:
        channels: channels of input and output.

    Source:
        Wang et al., "EDVR", CVPR Workshops 2019 (from Lim et al., "EDSR", CVPR Workshops 2017).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        initialise(self)
        for layer in (self.first, self.second):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Refine, (B, channels, H, W) -> the same shape."""
        return self.second(F.relu(self.first(x))) + x


def halving_block(channels: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with a LeakyReLU; the first one halves height and width."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride=2, padding=1),
        nn.LeakyReLU(SLOPE, inplace=True),
        nn.Conv2d(channels, channels, 3, padding=1),
        nn.LeakyReLU(SLOPE, inplace=True),
    )


def double(x: Tensor) -> Tensor:
    """Double height and width by bilinear interpolation."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def check_width(nf: int, groups: int = 1) -> None:
    """Check a network's number of channels.

    Raises:
        ValueError: ``groups`` is not positive, or ``nf`` is not a positive even multiple of it.
    """
    if groups <= 0:
        raise ValueError(f"groups is {groups}, expected a positive number")
    if nf <= 0 or nf % 2 or nf % groups:
        kind = "number" if groups == 1 else f"multiple of groups = {groups}"
        raise ValueError(f"nf is {nf}, expected a positive even {kind}")


def is_delta(initialisation: str) -> bool:
    """Whether a network's ``initialisation`` is "delta_orthogonal".

    Raises:
        ValueError: it is not "orthogonal" either.
    """
    if initialisation not in ("orthogonal", "delta_orthogonal"):
        raise ValueError(f"initialisation is {initialisation!r}, expected 'orthogonal' or 'delta_orthogonal'")
    return initialisation == "delta_orthogonal"


def initialise(module: nn.Module) -> None:
    """Make every convolution in ``module`` orthogonal and every bias zero.

    Args:
        module: changed in place; transposed convolutions included.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.orthogonal_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def initialise_delta_orthogonal(module: nn.Module) -> None:
    """Start training with layers that do not mix a pixel with its neighbours.

    The 3x3 convolutions of stride 1 get an orthogonal matrix at the centre of their kernels and zeros around it. The
    last convolution of every refinement in an `AttentionBlock` gets zeros. Orthogonal kernels blur the image a little
    in every layer, which a short training does not unlearn.

    Args:
        module: changed in place; other convolutions and all biases stay as they are.

    Source:
        Xiao et al., "Dynamical Isometry and a Mean Field Theory of CNNs", ICML 2018, section 2.4; Goyal et al.,
        "Accurate, Large Minibatch SGD", 2017, section 5.1 (residual branches that start at zero).
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.stride == (1, 1):
            nn.init.zeros_(layer.weight)
            nn.init.orthogonal_(layer.weight[:, :, 1, 1])
    for block in module.modules():
        if isinstance(block, AttentionBlock):
            for last in (block.extract, block.refine1.last, block.refine2.last):
                nn.init.zeros_(last.weight)


@torch.no_grad()
def start_at_reference(layer: nn.Conv2d, frames: int, gain: float = 1) -> None:
    """Let a layer that sees the concatenated features of all frames start with those of the reference frame alone.

    Before a network has learned to align, the other frames show other things at the same place.

    Args:
        layer: changed in place, (N * channels) channels -> any; the centre of its kernels becomes orthogonal.
        frames: number of frames N; the reference is frame N // 2.
        gain: factor of the weights.
    """
    channels = layer.in_channels // frames
    reference = slice(frames // 2 * channels, (frames // 2 + 1) * channels)
    middle = layer.kernel_size[0] // 2
    nn.init.zeros_(layer.weight)
    nn.init.orthogonal_(layer.weight[:, reference, middle, middle], gain)
