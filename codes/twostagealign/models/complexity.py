"""Size and computational cost of networks."""

import copy

import torch
from torch import nn


def count_parameters(module: nn.Module) -> int:
    """Count the weights of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def count_flops(network: nn.Module, frames: int, side: int) -> int | None:
    """Count the floating-point operations of a network for one tile.

    Args:
        network: takes `lq` and `noise_map`.
        frames: number of frames of a burst.
        side: side of the tile with its halo, raw pixels.

    Returns:
        Multiplications and additions of its convolutions and matrix products, as PyTorch counts them; None for a
        network whose control flow depends on its values.
    """
    from torch.utils.flop_counter import FlopCounterMode  # brings Triton: 80 MB that a training does not need

    network = copy.deepcopy(network).to("meta")  # computes shapes and nothing else
    tile = torch.zeros(1, frames, 4, side, side, dtype=next(network.parameters()).dtype, device="meta")
    try:
        with FlopCounterMode(display=False) as counter:
            network(tile, tile)
    except RuntimeError as error:
        # Tensors on the meta device have no values: reading one raises this, or NotImplementedError.
        if isinstance(error, NotImplementedError) or "cannot be called on meta tensors" in str(error):
            return None
        raise
    return counter.get_total_flops()
