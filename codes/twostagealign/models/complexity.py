"""How large a network is, and how much it computes."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(module: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def count_flops(network: nn.Module, frames: int, side: int) -> int | None:
    """Floating-point operations of a network for one tile.

    Args:
        network: takes `lq` and `noise_map`.
        frames: length of a burst.
        side: of the tile with its halo, raw pixels.

    Returns:
        Multiplications and additions of its convolutions and matrix products, as PyTorch counts them; None for a
        network whose course depends on its values.
    """
    network = copy.deepcopy(network).to("meta")  # where shapes are computed, and nothing else
    tile = torch.zeros(1, frames, 4, side, side, dtype=next(network.parameters()).dtype, device="meta")
    try:
        with FlopCounterMode(display=False) as counter:
            network(tile, tile)
    except (NotImplementedError, RuntimeError):  # what tensors without values answer to a question about them
        return None
    return counter.get_total_flops()
