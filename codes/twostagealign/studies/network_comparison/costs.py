"""What a network costs: weights, operations and time for a frame."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch

from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import load_weights, open_restorer
from twostagealign.models.complexity import count_flops, count_parameters
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import Tiling, count_tiles
from twostagealign.studies.benchmarks.subjects import FRAME_720P, burst

FRAMES = 5


@dataclass(frozen=True)
class Cost:
    """What a network costs for a 720p frame of a burst of five, in the tiles of the test protocol.

    Attributes:
        network: type node of the network.
        parameters: number of weights of the network, and of the feature net if its patches are matched.
        gflop: operations of the network for the frame, 1e9, as `count_flops` counts them; None where they cannot be
            counted. Block matching is not counted.
        seconds: time of one CPU core for the frame, block matching included.
    """

    network: dict[str, object]
    parameters: int
    gflop: float | None
    seconds: float


def measure_cost(checkpoint: Path, size: tuple[int, int] = FRAME_720P) -> Cost:
    """Measure a checkpoint on the CPU.

    Computing time is counted, not the time that passes: other programs on the machine matter little.

    Args:
        checkpoint: file that `train.py` wrote.
        size: height and width of the raw planes of the frame.
    """
    restorer, tiling = open_restorer(checkpoint), Tiling()
    network = load_weights(checkpoint)[1]["network"]
    matched = restorer.matcher.search.block_matching
    tile = count_flops(restorer.network, FRAMES, tiling.side)
    return Cost(
        network=network,
        parameters=count_parameters(restorer if matched else restorer.network),
        gflop=None if tile is None else round(tile * count_tiles(size, tiling) / 1e9, 1),
        seconds=round(_seconds(restorer, size, tiling), 2),
    )


def _seconds(restorer: TwoStageRestorer, size: tuple[int, int], tiling: Tiling) -> float:
    frames, threads = burst(FRAMES, *size), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.process_time()
        restore_frame(restorer, frames, tiling)
        return time.process_time() - start
    finally:
        torch.set_num_threads(threads)
