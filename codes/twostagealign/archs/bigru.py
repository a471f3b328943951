"""Fusion over time: a bidirectional convolutional GRU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
        self.nf = nf
        self.update = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.reset = nn.Conv2d(2 * nf, nf, 3, padding=1)
        self.candidate = nn.Conv2d(2 * nf, nf, 3, padding=1)

    def read(self, frames: Tensor) -> Tensor:
        """Compute what frames (B, nf, H, W) add to the update, the reset and the candidate, (B, 3 nf, H, W).

        It does not depend on the state, so that the frames of all steps can be read at once.
        """
        gates = (self.update, self.reset, self.candidate)
        weight = torch.cat([gate.weight[:, self.nf :] for gate in gates])
        return F.conv2d(frames, weight, torch.cat([gate.bias for gate in gates]), padding=1)

    def forward(self, hidden: Tensor | None, read: Tensor) -> Tensor:
        """Take a step.

        Args:
            hidden: state before, (B, nf, H, W), or None for zero, of which no convolution is needed.
            read: what was read from the frame, (B, 3 nf, H, W).

        Returns:
            State after, (B, nf, H, W).
        """
        read_gates, read_candidate = read.split((2 * self.nf, self.nf), dim=1)
        if hidden is None:
            return torch.sigmoid(read_gates[:, : self.nf]) * torch.tanh(read_candidate)
        weight = torch.cat((self.update.weight[:, : self.nf], self.reset.weight[:, : self.nf]))
        update, reset = F.conv2d(hidden, weight, padding=1).add_(read_gates).sigmoid_().chunk(2, dim=1)
        weight = self.candidate.weight[:, : self.nf]
        candidate = F.conv2d(reset * hidden, weight, padding=1).add_(read_candidate).tanh_()
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
        batch, number = frames.shape[:2]
        reference = number // 2
        # One step takes both directions, (2B, nf, H, W), to halve the number of calls. The forward one of an even
        # number of frames has a step more, which it takes alone.
        pairs = [(i, number - number % 2 - i) for i in range(1 - number % 2, reference)]
        steps = [(0,)] * (1 - number % 2) + pairs + [(reference,)]
        read = self.cell.read(torch.cat([frames[:, i] for step in steps for i in step]))
        *reads, read_reference = read.split([batch * len(step) for step in steps])
        before: Tensor | None = None
        for read in reads:
            before = self.cell(_for_each(before, read), read)
        read_reference = torch.cat((read_reference, read_reference))
        before = _for_each(before, read_reference)
        states = torch.cat(self.cell(before, read_reference).chunk(2), dim=1)
        if interpolation:
            before = torch.zeros_like(states) if before is None else torch.cat(before.chunk(2), dim=1)
            states = torch.cat((states, before))
        return self.merge(states)


def _for_each(hidden: Tensor | None, read: Tensor) -> Tensor | None:
    """Let the direction that has not started yet, if one has, start from zero."""
    return hidden if hidden is None or len(hidden) == len(read) else torch.cat((hidden, torch.zeros_like(hidden)))
