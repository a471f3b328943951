"""Peak memory of restoring a UHD burst with the paper's network, and one of twice the size.

A fresh process does all that restoration does for the whole frame: features, matching of all tiles, stitching, an 8-bit
picture. Only the last tiles, when the picture is nearly full, pass through the network: all of them would take minutes,
and each needs the same memory.
"""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from twostagealign.benchmarks.measurement import Measurement
from twostagealign.benchmarks.subjects import FRAME_UHD, wide_restorer
from twostagealign.engine.memory import memory_used
from twostagealign.engine.restoration import StoredBurst, restore_burst
from twostagealign.engine.tiling import Tiling, count_tiles
from twostagealign.isp import PROTOCOL_LEVELS, protocol_camera

TILING = Tiling(patch=128, halo=16, search_window=128, batch=1)
"""The protocol for UHD."""
REAL_TILES = 2


def benchmark_memory(size: tuple[int, int] = FRAME_UHD) -> Iterator[Measurement]:
    """Measure the largest resident memory, each time in a fresh process.

    Args:
        size: height and width of the raw planes; then the width is doubled.
    """
    height, width = size
    peaks, held = [], []
    for columns in (width, 2 * width):
        code = f"from {__name__} import peak_of_restoration as peak; print(peak({height}, {columns}))"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        peaks.append(int(done.stdout) / 1e9)
        held.append(height * columns * (5 * 4 * 2 + 4 * 3) / 1e9)  # five raw frames of 16 bits, a picture of 8 bits
        yield Measurement(f"nf 64, 5 x {height} x {columns}, peak", peaks[-1], "GB", at_most=3)
    yield Measurement("peak of twice the frame / of one", peaks[1] / peaks[0], "x", at_most=1.1)
    working = [peak - own for peak, own in zip(peaks, held, strict=True)]
    yield Measurement("the same, less the burst and the picture themselves", working[1] / working[0], "x", at_most=1.1)


def peak_of_restoration(height: int, width: int) -> int:
    """Restore a burst of this size in this process; the largest memory that it used, bytes."""
    restorer = wide_restorer()
    network, tiles = restorer.network.forward, count_tiles((height, width), TILING)

    def forward(lq: Tensor, noise_map: Tensor) -> Tensor:
        nonlocal tiles
        tiles -= len(lq)
        if tiles < REAL_TILES:
            return network(lq, noise_map)
        return lq.new_zeros(len(lq), 3, 2 * lq.shape[-2], 2 * lq.shape[-1])

    restorer.network.forward = forward
    stored = np.random.default_rng(0).integers(0, 2**16, (5, 4, height, width), dtype=np.uint16)
    burst = StoredBurst(
        frames=list(torch.from_numpy(stored)),
        decode=lambda planes: planes.float() / 65535,
        noise=PROTOCOL_LEVELS["high"],
        camera=protocol_camera(),
    )
    restore_burst(restorer, burst, TILING)
    return memory_used(torch.device("cpu")).resident
