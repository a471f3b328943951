"""Benchmark of peak memory: a UHD burst with the paper's network, and a burst of twice the size.

A fresh process does the whole restoration: features, matching of all tiles, stitching, an 8-bit picture. Only the last
tiles, when the picture is nearly complete, pass through the network. All of them would take minutes, and each needs the
same memory.
"""

import subprocess
import sys
from collections.abc import Iterator
from statistics import median

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Burst, Levels, NoiseLevel, RawFrame
from twostagealign.isp import PROTOCOL_LEVELS, protocol_camera
from twostagealign.matching import Search
from twostagealign.restoration.folder import restore_burst
from twostagealign.restoration.tiling import Tiling, count_tiles
from twostagealign.runtime.memory import keep_freed_memory, memory_used
from twostagealign.studies.benchmarks.measurement import Measurement
from twostagealign.studies.benchmarks.subjects import FRAME_UHD, wide_restorer

TILING = Tiling(patch=128, halo=16, batch=1)
SEARCH = Search(search_window=128)
"""UHD test protocol."""
REAL_TILES = 2
"""Number of tiles that pass through the network."""


def benchmark_memory(size: tuple[int, int] = FRAME_UHD, runs: int = 3) -> Iterator[Measurement]:
    """Measure the peak resident memory of fresh processes.

    Args:
        size: height and width of the raw planes; the second burst has twice the width.
        runs: number of runs per size. Their median counts, because the C library keeps more or less memory each time.
    """
    height, width = size
    sizes = [(height, width), (height, 2 * width)]
    peaks: list[list[float]] = [[], []]
    for _ in range(runs):
        for shape, own in zip(sizes, peaks, strict=True):
            code = f"from {__name__} import peak_of_restoration as peak; print(peak{shape})"
            done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
            own.append(int(done.stdout) / 1e9)
    one, two = (median(own) for own in peaks)
    for shape, peak in zip(sizes, (one, two), strict=True):
        yield Measurement(f"nf 64, 5 x {shape[0]} x {shape[1]}, peak", peak, "GB", at_most=3)
    yield Measurement("peak of twice the frame / of one", two / one, "x")
    held = height * width * (5 * 4 * 2 + 4 * 3) / 1e9  # five raw frames of 16 bits, a picture of 8 bits
    working = (two - 2 * held) / (one - held)
    yield Measurement("the same, less the burst and the picture themselves", working, "x", at_most=1.1)


def peak_of_restoration(height: int, width: int) -> int:
    """Restore a burst of this size in this process, and return its peak resident memory, bytes."""
    keep_freed_memory()  # as in every program
    restorer = wide_restorer(SEARCH)
    network, tiles = restorer.network.forward, count_tiles((height, width), TILING)

    def forward(lq: Tensor, noise_map: Tensor) -> Tensor:
        nonlocal tiles
        tiles -= len(lq)
        if tiles < REAL_TILES:
            return network(lq, noise_map)
        return lq.new_zeros(len(lq), 3, 2 * lq.shape[-2], 2 * lq.shape[-1])

    restorer.network.forward = forward
    stored = np.random.default_rng(0).integers(0, 2**16, (5, 4, height, width), dtype=np.uint16)
    noise, levels = NoiseLevel("high", *PROTOCOL_LEVELS["high"]), Levels((0, 0, 0, 0), 65535)
    frames = [RawFrame(planes, noise, levels) for planes in torch.from_numpy(stored)]
    restore_burst(restorer, Burst(frames, protocol_camera()), TILING)
    return memory_used(torch.device("cpu")).resident
