"""The convolution blocks that the networks are made of, and how their weights start."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.1  # of every LeakyReLU


class SimpleBlock(nn.Sequential):
    """``depth`` 3x3 convolutions with LeakyReLU between them; only the first one has a bias.

    Args:
        depth: number of convolutions, at least 2.
        in_channels: channels of the input.
        mid_channels: channels between the convolutions.
        out_channels: channels of the output.

    Raises:
        ValueError: if ``depth`` is less than 2.

    Shape:
        (B, in_channels, H, W) -> (B, out_channels, H, W).
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


class AttentionBlock(nn.Module):
    """Three residual refinements, then a gate per channel and a gate per pixel, both added to the identity.

    Args:
        channels: channels of input and output, even.

    Shape:
        (B, channels, H, W) -> the same.

    Source:
        Guo et al., CVPR 2022, section 3.3 (the block of GCP-Net, IEEE TIP 2021).
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

    def forward(self, x: Tensor) -> Tensor:
        """Refine and gate, (B, channels, H, W) -> the same."""
        # Sums go into the fresh output of a convolution, which no gradient needs: new memory costs more than adding.
        x = self.extract(self.activation(self.square(x))).add_(x)
        x = self.refine1(x).add_(x)
        x = self.refine2(x).add_(x)
        mean = x.mean(dim=(2, 3), keepdim=True)
        channel_gate = torch.sigmoid(self.excite(self.activation(self.squeeze(mean))))
        pixel_gate = torch.sigmoid(self.spatial(x))
        return (x * (1 + channel_gate)).addcmul_(x, pixel_gate)


class PixelGate(nn.Conv2d):
    """A 7x7 convolution to a single channel.

    Args:
        channels: channels of the input.

    Shape:
        (B, channels, H, W) -> (B, 1, H, W).
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve."""
        if x.is_cuda:
            return super().forward(x)
        # One output channel would use one lane of a processor's vectors. So each of the seven columns of the kernel
        # makes a channel of its own, and pixel x of the result is the sum of pixels x + k of channels k.
        columns = F.conv2d(x, self.weight.permute(3, 1, 2, 0), padding=3)
        return columns.unfold(-1, 7, 1).diagonal(dim1=1, dim2=-1).sum(-1).unsqueeze(1) + self.bias


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
    """Let every pixel pass ``module`` unmixed with its neighbours at the start of a training.

    The 3x3 convolutions of stride 1 get an orthogonal matrix in the middle of their kernels and zeros around it, and
    the last convolution of every refinement in an `AttentionBlock` zeros. Orthogonal kernels blur a picture a little
    more in every layer, and a short training is over before it has learnt to undo that.

    Args:
        module: changed in place; other convolutions and biases stay as they are.

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
            for last in (block.extract, block.refine1[-1], block.refine2[-1]):
                nn.init.zeros_(last.weight)
