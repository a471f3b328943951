"""Fusion over time: a bidirectional convolutional GRU."""

import torch
from torch import Tensor, nn

from twostagealign.archs.blocks import initialise


class ConvGRUCell(nn.Module):
    """One step of a convolutional gated recurrent unit with as many hidden channels as inputs.

    Args:
        nf: number of feature channels.

    Source:
        Ballas et al., "Delving Deeper into Convolutional Networks for Learning Video Representations", ICLR 2016.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.update = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.reset = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.candidate = nn.Conv2d(2 * nf, nf, 3, padding=1)

    def forward(self, hidden: Tensor, x: Tensor) -> Tensor:
        """Take the state ``hidden`` one frame ``x`` further, all (B, nf, H, W)."""
        both = torch.cat((hidden, x), dim=1)
        update = torch.sigmoid(self.update(both))
        reset = torch.sigmoid(self.reset(both))
        candidate = torch.tanh(self.candidate(torch.cat((reset * hidden, x), dim=1)))
        return torch.lerp(hidden, candidate, update)


class BidirectionalGRU(nn.Module):
    """Fuse aligned frames into one by running from both ends of the burst to the reference frame.

    One cell serves both directions. Steps beyond the reference do not reach the result and are not computed.

    Args:
        nf: number of feature channels.

    Source:
        Guo et al., CVPR 2022, section 3.3.
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.cell = ConvGRUCell(nf)
        self.merge = nn.Conv2d(2 * nf, nf, 1)
        initialise(self)

    def forward(self, frames: Tensor, interpolation: bool = False) -> Tensor:
        """Fuse the frames at frame c = N // 2.

        Args:
            frames: (B, N, nf, H, W).
            interpolation: also fuse the states just before c, which have not seen the reference frame.

        Returns:
            (B, nf, H, W), or (2B, nf, H, W) with the interpolation branch stacked after the main result.
        """
        number = frames.shape[1]
        reference = number // 2
        before: list[Tensor] = []
        at: list[Tensor] = []
        for neighbours in (range(reference), range(number - 1, reference, -1)):
            hidden = torch.zeros_like(frames[:, reference])
            for i in neighbours:
                hidden = self.cell(hidden, frames[:, i])
            before.append(hidden)
            at.append(self.cell(hidden, frames[:, reference]))
        states = torch.cat(at, dim=1)
        if interpolation:
            states = torch.cat((states, torch.cat(before, dim=1)), dim=0)
        return self.merge(states)
