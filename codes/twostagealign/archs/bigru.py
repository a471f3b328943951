"""Fusion over time: a bidirectional convolutional GRU."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs.blocks import initialise
from twostagealign.runtime.precision import apply_precisely, convolve_precisely


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

    def forward(self, hidden: Tensor | None, frames: Tensor) -> Tensor:
        """Take a step.

        Args:
            hidden: states before the step, S sets of them, (S * B, nf, H, W); None: zero, which saves convolutions.
            frames: input of the step, (B, nf, H, W); every set of states gets the same input.

        Returns:
            States after the step, (S * B, nf, H, W), or (B, nf, H, W) from None.
        """
        # The layers see the states first, then the input.
        of_state, of_input = self.candidate.weight.split(self.nf, dim=1)
        seen = convolve_precisely(frames, of_input, self.candidate.bias)
        if hidden is None:
            gate = F.conv2d(frames, self.update.weight[:, self.nf :], self.update.bias, padding=1)
            return torch.sigmoid(gate).to(seen.dtype) * torch.tanh(seen)

        def each(output: Tensor, seen: Tensor) -> Tensor:
            """Add the input's share to that of each set of states."""
            output.unflatten(0, (-1, frames.shape[0])).add_(seen)
            return output

        gates_of_state, gates_of_input = torch.cat((self.update.weight, self.reset.weight)).split(self.nf, dim=1)
        bias = torch.cat([gate.bias for gate in (self.update, self.reset) if gate.bias is not None])
        gates = each(F.conv2d(hidden, gates_of_state, padding=1), F.conv2d(frames, gates_of_input, bias, padding=1))
        update, reset = gates.sigmoid_().to(hidden.dtype).chunk(2, dim=1)
        candidate = each(convolve_precisely(reset * hidden, of_state), seen).tanh_()
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
        # One step takes both directions, (2B, nf, H, W), to halve the number of calls. With an even number of frames,
        # the forward direction has one step more, which it takes alone.
        pairs = [(i, number - number % 2 - i) for i in range(1 - number % 2, reference)]
        hidden: Tensor | None = None
        for step in [(0,)] * (1 - number % 2) + pairs:
            hidden = self.cell(_for_each(hidden, batch * len(step)), torch.cat([frames[:, i] for i in step]))
        before = _for_each(hidden, 2 * batch)
        states = self.cell(before, frames[:, reference])
        states = _beside(states, batch) if states.shape[0] == 2 * batch else torch.cat((states, states), dim=1)
        if interpolation:
            before = torch.zeros_like(states) if before is None else _beside(before, batch)
            states = torch.cat((states, before))
        return apply_precisely(self.merge, states)


def _for_each(hidden: Tensor | None, states: int) -> Tensor | None:
    """Extend states (B, ...) of one direction by zeros for the other direction, if ``states`` is 2B."""
    return hidden if hidden is None or hidden.shape[0] == states else torch.cat((hidden, torch.zeros_like(hidden)))


def _beside(states: Tensor, batch: int) -> Tensor:
    """Concatenate the states of both directions, (2B, nf, H, W) -> (B, 2 nf, H, W)."""
    # Slices keep the layout in memory also of a batch of one, and with it the convolutions' order of summation.
    return torch.cat((states[:batch], states[batch:]), dim=1)
