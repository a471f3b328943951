"""Motion along the frames of a burst: a convolutional LSTM."""

import torch
from torch import Tensor, nn

from twostagealign.archs.blocks import SLOPE


class ConvLSTMCell(nn.Module):
    """One step of a convolutional long short-term memory.

    Args:
        inputs: channels of the input.
        hidden: channels of the hidden state and of the cell state.

    Source:
        Shi et al., "Convolutional LSTM Network", NeurIPS 2015, without the peephole connections.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.gates = nn.Conv2d(inputs + hidden, 4 * hidden, 3, padding=1)

    def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Take a step.

        Args:
            x: input, (B, inputs, H, W).
            state: hidden state and cell state before the step, (B, hidden, H, W) each.

        Returns:
            Hidden state and cell state after the step.
        """
        hidden, cell = state
        gates = self.gates(torch.cat((x, hidden), dim=1))
        take, forget, output = gates[:, : 3 * self.hidden].sigmoid().chunk(3, dim=1)
        candidate = gates[:, 3 * self.hidden :].tanh()
        cell = forget * cell + take * candidate
        return output * cell.tanh(), cell


class MotionLSTM(nn.Module):
    """Let the motion estimate of a frame know those of the frames before it.

    Args:
        nf: number of channels of the motion features; the hidden state has half as many.

    Source:
        Guo et al., IEEE TIP 2021, section III (GCP-Net).
    """

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.cell = ConvLSTMCell(nf, nf // 2)
        self.mix = nn.Conv2d(nf + nf // 2, nf, 3, padding=1)
        self.activation = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, motion: Tensor) -> Tensor:
        """Run along the frames from the first to the last.

        Args:
            motion: motion features, (B, N, nf, H, W).

        Returns:
            Motion features of the same shape.
        """
        batch, frames, _, height, width = motion.shape
        zero = motion.new_zeros(batch, self.cell.hidden, height, width)
        state, hidden = (zero, zero), []
        for i in range(frames):
            state = self.cell(motion[:, i], state)
            hidden.append(state[0])
        both = torch.cat((motion, torch.stack(hidden, dim=1)), dim=2)
        return self.activation(self.mix(both.flatten(0, 1))).unflatten(0, (batch, frames))
