"""The network at work on tiles: how many at once, and on a GPU without waiting for the processor."""

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

# Features of so many bytes per layer, of all frames, are worked on at once on a processor.
_CPU_BYTES = 32 * 2**20
# Channels of a network that does not tell: the paper's.
_CHANNELS = 64
# What a network needs on a GPU, as a multiple of the features of all frames: 16, measured with nf 64 on a processor,
# and some room.
_LAYERS = 24


def tiles_at_once(network: nn.Module, frames: int, height: int, width: int, device: torch.device) -> int:
    """How many tiles should pass through a network together.

    Args:
        network: its attribute `nf`, if it has one, is its number of channels.
        frames: of a burst.
        height: of a tile with its halo, raw pixels.
        width: likewise.
        device: on a GPU, as many as its free memory holds; on a processor, some megabytes' worth.
    """
    dtype = next(network.parameters()).dtype
    tile = frames * getattr(network, "nf", _CHANNELS) * height * width * dtype.itemsize
    if device.type == "cuda":
        return max(1, torch.cuda.mem_get_info(device)[0] // (_LAYERS * tile))
    return max(1, _CPU_BYTES // tile)


@dataclass(frozen=True)
class _Recording:
    """The work on tiles of one shape: it reads `lq` and `noise_map` and writes `output`, always the same memory."""

    graph: torch.cuda.CUDAGraph
    lq: Tensor
    noise_map: Tensor
    output: Tensor


_recordings: WeakKeyDictionary[nn.Module, dict[tuple, _Recording | None]] = WeakKeyDictionary()


@torch.inference_mode()
def restore_tiles(network: nn.Module, lq: Tensor, noise_map: Tensor) -> Tensor:
    """Call a network.

    On a GPU, its several hundred kernels are recorded when tiles of a shape come for the second time (CUDA graphs), and
    replayed from then on: to launch them one by one can take longer than their work. Not in a training, whose memory
    the recordings would keep.

    Args:
        network: in evaluation mode; one whose weights need gradients is being trained.
        lq: raw planes of tiles, (B, N, 4, H, W).
        noise_map: of the same shape.

    Returns:
        Linear camera RGB, (B, 3, 2H, 2W).
    """
    if not lq.is_cuda or next(network.parameters()).requires_grad:
        return network(lq, noise_map)
    recordings = _recordings.setdefault(network, {})
    shape = (lq.shape, lq.dtype, lq.device)
    if shape not in recordings:
        recordings[shape] = None  # what depends on the shape is chosen in the first call, which cannot be recorded
        return network(lq, noise_map)
    recording = recordings[shape]
    if recording is None:
        recording = recordings[shape] = _record(network, lq.clone(), noise_map.clone())
    recording.lq.copy_(lq)
    recording.noise_map.copy_(noise_map)
    recording.graph.replay()
    return recording.output.clone()


def _record(network: nn.Module, lq: Tensor, noise_map: Tensor) -> _Recording:
    # A call in a stream of its own comes before, as PyTorch's notes on CUDA graphs ask for.
    stream = torch.cuda.Stream(lq.device)
    stream.wait_stream(torch.cuda.current_stream(lq.device))
    with torch.cuda.stream(stream):
        network(lq, noise_map)
    torch.cuda.current_stream(lq.device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = network(lq, noise_map)
    return _Recording(graph, lq, noise_map, output)
