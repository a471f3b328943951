"""Direct implementation of TwoStageNet: NCHW, frames aligned one by one, all GRU steps of both directions."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import deform_conv2d

from twostagealign.isp import demosaic


class DirectNetwork:
    """Network as a list of operations on the weights of a `TwoStageNet`.

    Args:
        weights: state dict of the `TwoStageNet`.
        groups: number of channel groups, each with its own offsets.
        residual: whether the network adds its output to the demosaicked frame.

    Source: Guo et al., CVPR 2022, section 3.3; Wang et al., "EDVR", CVPR Workshops 2019 (alignment).
    """

    def __init__(self, weights: dict[str, Tensor], groups: int = 8, residual: bool = False) -> None:
        self.weights = weights
        self.groups = groups
        self.residual = residual

    def __call__(self, lq: Tensor, noise_map: Tensor) -> Tensor:
        """Restore the middle frame. Both inputs (B, N, 4, H, W), H and W multiples of 4 -> (B, 3, 2H, 2W)."""
        batch, number = lq.shape[:2]
        frames = torch.cat([lq, noise_map], 2).flatten(0, 1)
        aligned = self.align(self.features(frames).unflatten(0, (batch, number)))
        picture = self.reconstruct(self.fuse(aligned))
        return picture + demosaic(lq[:, number // 2]) if self.residual else picture

    def features(self, x: Tensor) -> Tensor:
        """Extract features of single frames, (B, 8, H, W) -> (B, nf, H, W)."""
        x = self.simple("features.stem", x, 5)
        for i in range(1, 5):
            x = self.attention(f"features.attention{i}", x)
        return x

    def align(self, features: Tensor) -> Tensor:
        """Align all frames to the middle one, (B, N, nf, H, W) -> (B, N, nf, H, W)."""
        level1 = features.flatten(0, 1)
        level2 = self.halve("alignment.down2", level1)
        level3 = self.halve("alignment.down3", level2)
        pyramid = [level.unflatten(0, features.shape[:2]) for level in (level1, level2, level3)]
        middle = features.shape[1] // 2
        aligned = []
        for i in range(features.shape[1]):
            coarser: tuple[Tensor, Tensor] | None = None
            for level in (3, 2, 1):
                frame, reference = (pyramid[level - 1][:, index] for index in (i, middle))
                name = f"alignment.level{level}"
                motion = lrelu(self.conv(f"{name}.compare", torch.cat([frame, reference], 1)))
                if coarser:
                    motion = lrelu(self.conv(f"{name}.merge", torch.cat([motion, 2 * double(coarser[1])], 1)))
                motion = lrelu(self.conv(f"{name}.refine", motion))
                result = self.deform(f"{name}.deform", frame, motion)
                if coarser:
                    result = self.conv(f"{name}.fuse", torch.cat([result, double(coarser[0])], 1))
                if level > 1:
                    result = lrelu(result)
                coarser = result, motion
            aligned.append(result)
        return torch.stack(aligned, 1)

    def fuse(self, frames: Tensor) -> Tensor:
        """Run the recurrent cell over all frames in both directions, and merge both states of the middle frame."""
        number = frames.shape[1]
        states = []
        for order in (range(number), range(number - 1, -1, -1)):
            hidden = torch.zeros_like(frames[:, 0])
            for i in order:
                hidden = self.step(hidden, frames[:, i])
                if i == number // 2:
                    states.append(hidden)
        return self.conv("fusion.merge", torch.cat(states, 1), padding=0)

    def step(self, hidden: Tensor, x: Tensor) -> Tensor:
        """Do one step of the ConvGRU."""
        both = torch.cat([hidden, x], 1)
        update = torch.sigmoid(self.conv("fusion.cell.update", both))
        reset = torch.sigmoid(self.conv("fusion.cell.reset", both))
        candidate = torch.tanh(self.conv("fusion.cell.candidate", torch.cat([reset * hidden, x], 1)))
        return (1 - update) * hidden + update * candidate

    def reconstruct(self, x: Tensor) -> Tensor:
        """Apply the U-Net, (B, nf, H, W) -> (B, 3, 2H, 2W)."""
        net = "reconstruction"
        level1 = self.attention(f"{net}.encoder1.1", self.simple(f"{net}.encoder1.0", self.up(f"{net}.upsample", x), 2))
        level2 = self.conv(f"{net}.down1", level1, stride=2)
        level2 = self.attention(f"{net}.encoder2.1", self.simple(f"{net}.encoder2.0", level2, 2))
        level3 = self.conv(f"{net}.down2", level2, stride=2)
        level3 = self.attention(f"{net}.bottleneck.1", self.simple(f"{net}.bottleneck.0", level3, 2))
        level3 = self.simple(f"{net}.bottleneck.2", level3, 2)
        level2 = torch.cat([self.up(f"{net}.up2", level3), level2], 1)
        level2 = self.attention(f"{net}.decoder2.1", self.simple(f"{net}.decoder2.0", level2, 2))
        level1 = torch.cat([self.up(f"{net}.up1", level2), level1], 1)
        return self.simple(f"{net}.decoder1", level1, 3)

    def simple(self, name: str, x: Tensor, depth: int) -> Tensor:
        """Apply `depth` convolutions with activations between them."""
        for i in range(depth - 1):
            x = lrelu(self.conv(f"{name}.{2 * i}", x))
        return self.conv(f"{name}.{2 * depth - 2}", x)

    def attention(self, name: str, x: Tensor) -> Tensor:
        """Apply three residual refinements, a channel gate and a pixel gate."""
        t = x + self.conv(f"{name}.extract", lrelu(self.conv(f"{name}.square", x)))
        t = t + self.simple(f"{name}.refine1", t, 2)
        t = t + self.simple(f"{name}.refine2", t, 2)
        squeezed = lrelu(self.conv(f"{name}.squeeze", t.mean((2, 3), keepdim=True), padding=0))
        channel_gate = torch.sigmoid(self.conv(f"{name}.excite", squeezed, padding=0))
        pixel_gate = torch.sigmoid(self.conv(f"{name}.spatial", t, padding=3))
        return t + t * channel_gate + t * pixel_gate

    def deform(self, name: str, x: Tensor, motion: Tensor) -> Tensor:
        """Apply a deformable convolution to `x`, with offsets and mask predicted from `motion`."""
        offset1, offset2, mask = self.conv(f"{name}.predictor", motion).chunk(3, 1)
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return deform_conv2d(x, torch.cat([offset1, offset2], 1), weight, bias, padding=1, mask=torch.sigmoid(mask))

    def halve(self, name: str, x: Tensor) -> Tensor:
        """Compute the next level of a pyramid."""
        return lrelu(self.conv(f"{name}.2", lrelu(self.conv(f"{name}.0", x, stride=2))))

    def conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 1) -> Tensor:
        """Apply the convolution of that name."""
        return F.conv2d(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"), stride, padding)

    def up(self, name: str, x: Tensor) -> Tensor:
        """Apply the transposed convolution of that name."""
        return F.conv_transpose2d(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], stride=2)


def lrelu(x: Tensor) -> Tensor:
    """Leaky ReLU with slope 0.1, in place as in EDVR."""
    return F.leaky_relu(x, 0.1, inplace=True)


def double(x: Tensor) -> Tensor:
    """Upsample bilinearly by 2."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
