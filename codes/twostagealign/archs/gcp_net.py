"""GCP-Net: the less noisy green planes guide features, alignment and reconstruction."""

import torch
from torch import Tensor, nn

from twostagealign.archs.blocks import (
    Modulation,
    SimpleBlock,
    check_width,
    initialise,
    initialise_delta_orthogonal,
    is_delta,
    start_at_reference,
)
from twostagealign.archs.frames import BurstNetwork, FrameFeatures
from twostagealign.archs.pcd_align import PCDAlignment
from twostagealign.archs.reconstruction import ReconstructionUNet
from twostagealign.runtime.bounds import Channels, Frames


class GCPNet(BurstNetwork):
    """Restore the reference frame of a raw burst, guided by its green planes.

    Args:
        nf: number of feature channels; positive, even, a multiple of ``groups``.
        groups: groups of channels that share their offsets in the alignment.
        frames: number of frames N of a burst; the merge concatenates them.
        residual: add the result to the demosaicked reference frame; False: produce the whole picture, as in the paper.
        initialisation: "orthogonal", or "delta_orthogonal" with a merge that starts at the reference frame; see
            `initialise_delta_orthogonal`.

    Attributes:
        nf: number of feature channels.

    Raises:
        ValueError: ``nf``, ``groups`` or ``frames`` is invalid, or the initialisation unknown.

    Source:
        Guo, Liang, Zhang, "Joint Denoising and Demosaicking with Green Channel Prior for Real-world Burst Images",
        IEEE TIP 2021 (arXiv 2101.09870).

    Example:
        >>> lq = torch.rand(1, 5, 4, 8, 12)
        >>> GCPNet(nf=8)(lq, torch.full_like(lq, 0.02)).shape
        torch.Size([1, 3, 16, 24])
    """

    def __init__(
        self,
        nf: Channels = 64,
        groups: Channels = 8,
        frames: Frames = 5,
        residual: bool = False,
        initialisation: str = "orthogonal",
    ) -> None:
        super().__init__()
        check_width(nf, groups)
        if frames <= 0:
            raise ValueError(f"frames is {frames}, expected a positive number")
        self.nf = nf
        self.frames = frames
        self.green = GreenBranch(nf)
        self.features = FrameFeatures(nf)
        self.alignment = PCDAlignment(nf, groups, cascade=True, recurrent=True)
        self.merge = nn.Conv2d(frames * nf, nf, 3, padding=1)
        self.reconstruction = ReconstructionUNet(nf)
        self.residual = residual
        initialise(self.merge)
        if is_delta(initialisation):
            for part in (self.green, self.features, self.reconstruction):
                initialise_delta_orthogonal(part)
            start_at_reference(self.merge, frames)
            self.green.start_without_modulation()
            self.alignment.initialise_delta_orthogonal()
        if residual:
            self.reconstruction.start_at_zero()

    def restore(self, images: Tensor, burst: torch.Size, interpolation: bool) -> Tensor:
        """See `BurstNetwork`; there is no interpolation branch."""
        guide, modulations = self.green(images)
        features = self.features(images, modulations).unflatten(0, burst)
        guide = guide.unflatten(0, burst)
        merged = self.merge(self.alignment(features, guide).flatten(1, 2))
        return self.reconstruction(merged, self.green.modulate_picture(guide[:, burst[1] // 2]))


class GreenBranch(nn.Module):
    """Features of the green planes, and the scale and shift maps that they give for the features of all planes.

    Args:
        nf: number of feature channels.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.block1 = SimpleBlock(3, 4, nf, nf)
        self.block2 = SimpleBlock(3, nf, nf, nf)
        self.block3 = SimpleBlock(3, nf, nf, nf)
        self.block4 = SimpleBlock(3, nf, nf, nf)
        self.block5 = SimpleBlock(3, nf, nf, nf)
        self.modulation1 = ModulationMaps(nf)
        self.modulation2 = ModulationMaps(nf)
        self.modulation3 = ModulationMaps(nf)
        self.modulation4 = ModulationMaps(nf)
        self.block6 = SimpleBlock(3, nf, nf, nf)
        self.upsample = nn.ConvTranspose2d(nf, nf, 2, stride=2)
        self.modulation6 = ModulationMaps(nf)
        initialise(self)

    def start_without_modulation(self) -> None:
        """Start training with scale 1 and shift 0 everywhere."""
        for maps in (self.modulation1, self.modulation2, self.modulation3, self.modulation4, self.modulation6):
            maps.start_without_modulation()

    def forward(self, images: Tensor) -> tuple[Tensor, list[Modulation]]:
        """Compute green features.

        Args:
            images: frames (R, G1, G2, B) and their noise maps, (B, 8, H, W).

        Returns:
            Features of the green planes, (B, nf, H, W), and the modulations of the four attention blocks.
        """
        green1 = self.block1(images[:, [1, 2, 5, 6]])
        green2 = self.block2(green1)
        green3 = self.block3(green2)
        green4 = self.block4(green3)
        modulations = [
            self.modulation1(green1),
            self.modulation2(green2),
            self.modulation3(green3),
            self.modulation4(green4),
        ]
        return self.block5(green4), modulations

    def modulate_picture(self, reference: Tensor) -> Modulation:
        """Compute scale and shift at full size, (B, nf, 2H, 2W), from the green features of the reference frame."""
        return self.modulation6(self.upsample(self.block6(reference)))


class ModulationMaps(nn.Module):
    """Scale and shift maps from guiding features, by a 3x3 convolution each.

    Args:
        nf: number of channels.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.scale = nn.Conv2d(nf, nf, 3, padding=1)
        self.shift = nn.Conv2d(nf, nf, 3, padding=1)

    def start_without_modulation(self) -> None:
        """Start training with scale 1 and shift 0 everywhere."""
        for name, parameter in self.named_parameters():
            nn.init.constant_(parameter, 1.0 if name == "scale.bias" else 0.0)

    def forward(self, guide: Tensor) -> Modulation:
        """Compute scale and shift, (B, nf, H, W) each, from features of that shape."""
        return self.scale(guide), self.shift(guide)
