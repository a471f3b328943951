"""The network at work on tiles: how many at once, and what is done where memory runs out."""

import logging
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from twostagealign.restoration.replay import GraphRecorder, Replays
from twostagealign.runtime.errors import UserError

CPU_BYTES = 32 * 2**20
"""CPU activation budget per layer for all frames, bytes."""
CHANNELS = 64
"""Channels of a network that has no `nf`: the paper's."""
LAYERS = 24
"""GPU memory of a network, in features of all frames: 16, measured with nf 64, and some room."""

logger = logging.getLogger(__name__)


@dataclass
class _State:
    """What is known about the work of a network on tiles.

    Attributes:
        replays: its recorded calls.
        batches: number of tiles that free memory holds, by size of a tile.
        limits: number of tiles after memory has run out, by shape of a tile.
    """

    replays: Replays = field(default_factory=lambda: Replays(GraphRecorder))
    batches: dict[tuple, int] = field(default_factory=dict)
    limits: dict[tuple, int] = field(default_factory=dict)


_states: WeakKeyDictionary[nn.Module, _State] = WeakKeyDictionary()


def _state_of(network: nn.Module) -> _State:
    return _states.setdefault(network, _State())


def record_calls(network: nn.Module, enabled: bool) -> None:
    """Choose whether the calls of a network are recorded on a GPU (CUDA graphs), as by default, or never."""
    replays = _state_of(network).replays
    replays.enabled = enabled
    replays.clear()


def tiles_at_once(network: nn.Module, frames: int, height: int, width: int, device: torch.device) -> int:
    """Number of tiles that should pass through a network together.

    Args:
        network: its attribute `nf`, if it has one, is its number of channels.
        frames: number of frames of a burst.
        height: height of a tile with its halo, raw pixels.
        width: width of a tile with its halo, raw pixels.
        device: a GPU, whose free memory is filled, or the CPU. The number for a GPU stays what it was the first time:
            calls of another number would have to be recorded again.
    """
    dtype = next(network.parameters()).dtype
    tile = frames * getattr(network, "nf", CHANNELS) * height * width * dtype.itemsize
    if device.type != "cuda":
        return max(1, CPU_BYTES // tile)
    state, key = _state_of(network), (device, dtype, frames, height, width)
    if key not in state.batches:
        # PyTorch uses again what it has reserved. Recorded calls have memory of their own, beside that of others.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        free = (torch.cuda.mem_get_info(device)[0] + unused) // (2 if state.replays.enabled else 1)
        state.batches[key] = max(1, free // (LAYERS * tile))
    return state.batches[key]


@torch.inference_mode()
def restore_tiles(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Tensor:
    """Restore tiles.

    On a GPU, calls are recorded and replayed; see `Replays`. Networks in training are not recorded, since recordings
    keep memory. Where the memory of the GPU does not hold all tiles, half of them are restored at a time, and so on.

    Args:
        network: network in evaluation mode; if its weights need gradients, it is being trained.
        lq: raw planes of tiles, (B, N, 4, H, W).
        noise_map: noise map, the shape of `lq`.

    Returns:
        Linear camera RGB, (B, 3, 2H, 2W).

    Raises:
        UserError: the memory of the GPU does not hold a single tile.
    """
    state, tile = _state_of(network), (lq.shape[1:], lq.dtype)
    limit = state.limits.get(tile, len(lq))
    if len(lq) > limit:
        parts = zip(lq.split(limit), noise_map.split(limit), strict=True)
        return torch.cat([restore_tiles(network, *part) for part in parts])
    recorded = lq.is_cuda and not next(network.parameters()).requires_grad
    try:
        return state.replays(network, lq, noise_map) if recorded else network(lq, noise_map)
    except torch.OutOfMemoryError:
        pass  # and go on below: until here, the error keeps what the network has made
    state.replays.clear()
    torch.cuda.empty_cache()
    height, width = lq.shape[-2:]
    if len(lq) == 1:
        raise UserError(
            f"the memory of the GPU does not hold a tile of {width}x{height} raw pixels; "
            "give a smaller --group or --patch, or --device cpu"
        )
    state.limits[tile] = len(lq) // 2
    logger.warning("the memory of the GPU does not hold %d tiles: going on with %d at a time", len(lq), len(lq) // 2)
    return restore_tiles(network, lq, noise_map)
