"""Replay of a network's work on tiles: on a GPU, launching hundreds of kernels can take longer than their work."""

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from twostagealign.runtime.precision import dtype_of_products

Replay = Callable[[Tensor, Tensor], Tensor]
"""Function of raw planes and noise map of tiles of one shape; returns a new tensor."""
Recorder = Callable[[nn.Module, Tensor, Tensor], Replay]
"""Function that makes a `Replay` of a network, for tensors of the shapes of these."""

KEPT = 8
"""Shapes that are kept recorded: whole and narrower, lower and smaller tiles, in full and last batches."""

logger = logging.getLogger(__name__)


class Replays:
    """Calls of one network. The second call of a shape is recorded; later calls replay it.

    The first replay of each shape is compared with a call of the network. If it differs, or the network cannot be
    recorded, a warning says so, and nothing is recorded any more. Recordings are dropped when the weights move, as by
    `.half()`, and when there are more than `KEPT`.

    Args:
        new_recorder: makes a recorder, whose recordings may share memory; a new one after recordings were dropped.

    Attributes:
        enabled: whether calls are recorded.
    """

    def __init__(self, new_recorder: Callable[[], Recorder]) -> None:
        self.enabled = True
        self._new_recorder = new_recorder
        self._weights: list[tuple[int, torch.dtype]] = []
        self.clear()

    def clear(self) -> None:
        """Drop all recordings, and the memory that they keep."""
        self._recorder: Recorder | None = None
        self._replays: OrderedDict[tuple, Replay | None] = OrderedDict()

    def __call__(self, network: nn.Module, lq: Tensor, noise_map: Tensor) -> Tensor:
        """Call the network, or replay it."""
        if not self.enabled:
            return network(lq, noise_map)
        weights = [(parameter.data_ptr(), parameter.dtype) for parameter in network.parameters()]
        if weights != self._weights:
            self.clear()
            self._weights = weights
        shape = (lq.shape, lq.dtype, dtype_of_products(lq), lq.device)
        if shape not in self._replays:
            self._replays[shape] = None  # the first call chooses kernels, and cannot be recorded
            if len(self._replays) > KEPT:
                self._replays.popitem(last=False)
            return network(lq, noise_map)
        self._replays.move_to_end(shape)
        replay = self._replays[shape]
        return replay(lq, noise_map) if replay else self._record(network, lq, noise_map, shape)

    def _record(self, network: nn.Module, lq: Tensor, noise_map: Tensor, shape: tuple) -> Tensor:
        expected = network(lq, noise_map)
        try:
            self._recorder = self._recorder or self._new_recorder()
            replay = self._recorder(network, lq, noise_map)
            fault = None if _agree(replay(lq, noise_map), expected) else "a replay gives another result"
        except Exception as error:  # drivers raise what they like
            fault = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        if fault:
            self.enabled = False
            self.clear()
            logger.warning("CUDA graphs are not used for this network: %s", fault)
        else:
            self._replays[shape] = replay
        return expected


def _agree(result: Tensor, expected: Tensor) -> bool:
    """Whether results differ by rounding only."""
    tolerance = torch.finfo(expected.dtype).eps ** 0.5
    largest = float(expected.nan_to_num().abs().max())
    return torch.allclose(result, expected, rtol=tolerance, atol=tolerance * largest, equal_nan=True)


class GraphRecorder:
    """Records CUDA graphs, which share their memory: they must not be replayed at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None  # made by the first recording

    def __call__(self, network: nn.Module, lq: Tensor, noise_map: Tensor) -> Replay:
        """Record the network's kernels for tiles of a shape, on the device of the tiles."""
        # Recorded with other values than it is compared with: what depends on them is found out.
        inputs = torch.zeros_like(lq), torch.zeros_like(noise_map)
        with torch.cuda.device(lq.device):
            # PyTorch's notes on CUDA graphs ask for a call in another stream first. Without a stream of this device,
            # torch.cuda.graph would take that of the device that was recorded on first.
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                network(*inputs)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=stream):
                output = network(*inputs)
            self._pool = graph.pool()
            output.zero_()  # an empty graph then gives zeros

        def replay(lq: Tensor, noise_map: Tensor) -> Tensor:
            for buffer, values in zip(inputs, (lq, noise_map), strict=True):
                buffer.copy_(values)
            with torch.cuda.device(lq.device):
                graph.replay()
            return output.clone()

        return replay
