"""The network at work on tiles: how many at once, and CUDA graphs on a GPU."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

CPU_BYTES = 32 * 2**20
"""CPU activation budget per layer for all frames, bytes."""
CHANNELS = 64
"""Channels of a network that has no `nf`: the paper's."""
LAYERS = 24
"""GPU memory of a network, in features of all frames: 16, measured with nf 64, and some room."""


def tiles_at_once(network: nn.Module, frames: int, height: int, width: int, device: torch.device) -> int:
    """Number of tiles that should pass through a network together.

    Args:
        network: its attribute `nf`, if it has one, is its number of channels.
        frames: number of frames of a burst.
        height: height of a tile with its halo, raw pixels.
        width: width of a tile with its halo, raw pixels.
        device: a GPU, whose free memory is filled, or the CPU.
    """
    dtype = next(network.parameters()).dtype
    tile = frames * getattr(network, "nf", CHANNELS) * height * width * dtype.itemsize
    if device.type == "cuda":
        return max(1, torch.cuda.mem_get_info(device)[0] // (LAYERS * tile))
    return max(1, CPU_BYTES // tile)


@dataclass(frozen=True)
class _Recording:
    """Kernels for tiles of one shape, which read `lq` and `noise_map` and write `output`, always the same memory."""

    graph: torch.cuda.CUDAGraph
    lq: Tensor
    noise_map: Tensor
    output: Tensor


_recordings: WeakKeyDictionary[nn.Module, dict[tuple, _Recording | None]] = WeakKeyDictionary()


@torch.inference_mode()
def restore_tiles(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Tensor:
    """Restore tiles.

    On a GPU, the kernels are recorded when tiles of a shape come for the second time (CUDA graphs), and replayed from
    then on, because launching hundreds of kernels can take longer than their work. Networks in training are not
    recorded, since recordings keep memory.

    Args:
        network: network in evaluation mode; if its weights need gradients, it is being trained.
        lq: raw planes of tiles, (B, N, 4, H, W).
        noise_map: noise map, the shape of `lq`.

    Returns:
        Linear camera RGB, (B, 3, 2H, 2W).
    """
    if not lq.is_cuda or next(network.parameters()).requires_grad:
        return network(lq, noise_map)
    recordings = _recordings.setdefault(network, {})
    shape = (lq.shape, lq.dtype, lq.device)
    if shape not in recordings:
        recordings[shape] = None  # the first call chooses kernels, and cannot be recorded
        return network(lq, noise_map)
    recording = recordings[shape]
    if recording is None:
        recording = recordings[shape] = _record(network, lq.clone(), noise_map.clone())
    recording.lq.copy_(lq)
    recording.noise_map.copy_(noise_map)
    recording.graph.replay()
    return recording.output.clone()


def _record(network: nn.Module, lq: Tensor, noise_map: Tensor) -> _Recording:
    # PyTorch's notes on CUDA graphs ask for a call in another stream first.
    stream = torch.cuda.Stream(lq.device)
    stream.wait_stream(torch.cuda.current_stream(lq.device))
    with torch.cuda.stream(stream):
        network(lq, noise_map)
    torch.cuda.current_stream(lq.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = network(lq, noise_map)
    return _Recording(graph, lq, noise_map, output)
