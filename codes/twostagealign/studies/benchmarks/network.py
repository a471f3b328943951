"""Benchmark of the network against the direct implementation, and against the machine's convolution rate."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.archs import TwoStageNet
from twostagealign.models.complexity import count_flops
from twostagealign.studies.benchmarks.measurement import Measurement, race
from twostagealign.studies.benchmarks.subjects import burst, wide_network

FRAMES = 5
SIDE = 72
"""Side of a tile of the REDS protocol with its halo, raw pixels."""


@torch.inference_mode()
def benchmark_network(
    direct: Callable[[dict[str, Tensor]], Callable[[Tensor, Tensor], Tensor]],
    network: TwoStageNet | None = None,
    batches: Sequence[int] = (1, 8),
    side: int = SIDE,
) -> Iterator[Measurement]:
    """Compare the network for patches of five frames.

    The convolution rate is that of the network's most frequent layer, 3x3 between all channels, for the frames of one
    patch in channels-last layout. It is timed in turn with the network.

    Args:
        direct: makes the direct implementation from a state dict of the network.
        network: network to measure; None: the paper's width.
        batches: numbers of patches restored at once.
        side: side of a patch, raw pixels.
    """
    network = network or wide_network()
    direct_network = direct(network.state_dict())
    nf = network.nf
    x = torch.rand(FRAMES, nf, side, side).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(nf, nf, 3, 3).contiguous(memory_format=torch.channels_last)
    needed = count_flops(network, FRAMES, side)
    for batch in batches:
        lq, noise_map = (planes.expand(batch, -1, -1, -1, -1).clone() for planes in burst(FRAMES, side, side).stack())
        ours, convolution = race(
            partial(network, lq, noise_map), lambda: [F.conv2d(x, weight, padding=1) for _ in range(10)], runs=3
        )
        (theirs,) = race(partial(direct_network, lq, noise_map), runs=1)  # has no bar
        rate = 10 * 2 * 9 * nf * x.numel() / convolution
        what = f"nf {nf}, {batch} x {FRAMES} x {side} x {side}"
        yield Measurement(f"{what}, time", ours, "s")
        yield Measurement(f"{what}, direct / ours", theirs / ours, "x")
        yield Measurement(f"{what}, rate of convolution alone", rate / 1e9, "GFLOP/s")
        if needed is not None:
            share = 100 * batch * needed / ours / rate
            yield Measurement(f"{what}, needed FLOPs at that rate / time", share, "%", at_least=75)
