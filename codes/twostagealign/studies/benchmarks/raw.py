"""Benchmark of a burst of large raw frames, from files to a picture: time by stage, and memory."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch

from twostagealign.data import bundled_picture
from twostagealign.data.camera.raw_folder import write_raw_folder
from twostagealign.isp import PROTOCOL_LEVELS, add_noise, protocol_camera
from twostagealign.studies.benchmarks.measurement import Measurement
from twostagealign.studies.benchmarks.program import restore

FRAMES = 5
SIZES = {12: (3000, 4000, 1.5), 24: (4000, 6000, 2.2), 50: (6120, 8160, 4.0)}
"""Height and width of a frame, samples, and the bar for memory, GB, by megapixels."""


def benchmark_raw(
    whole: bool, sizes: Mapping[int, tuple[int, int, float]] = SIZES, least_share: float = 85
) -> Iterator[Measurement]:
    """Measure `restore.py` with the shipped checkpoint on bursts of five mosaics: the whole program.

    Args:
        whole: all sizes, which takes minutes; otherwise only the smallest.
        sizes: see `SIZES`.
        least_share: bar for the network's share of the time, %.
    """
    for megapixels in sizes if whole else [min(sizes)]:
        height, width, most = sizes[megapixels]
        with tempfile.TemporaryDirectory() as workplace:
            folder, output = Path(workplace) / "burst", Path(workplace) / "restored"
            make_raw_burst(folder, height, width)
            run = restore(folder, output)
        what = f"nf 16, {run.dtype}, {FRAMES} x {megapixels} megapixels"
        yield Measurement(f"{what}, time", run.seconds, "s")
        for stage, part in run.stages.items():
            bar = least_share if stage == "network" else None
            yield Measurement(f"{what}, share of {stage}", 100 * part / run.seconds, "%", at_least=bar)
        yield Measurement(f"{what}, peak", run.peak / 1e9, "GB", at_most=most)


def make_raw_burst(folder: Path, height: int, width: int) -> None:
    """Write a raw burst of a photograph that moves, at the protocol's high noise.

    Args:
        folder: folder of the burst.
        height: height of a frame, samples.
        width: width of a frame, samples.
    """
    down, right = 5, 8  # from frame to frame
    photograph = bundled_picture("coffee")
    scale = max((height + down * FRAMES) / photograph.shape[0], (width + right * FRAMES) / photograph.shape[1])
    scene = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    linear = ((np.arange(256) / 255) ** 2.2).astype(np.float32)
    generator = torch.Generator().manual_seed(0)
    mosaics = torch.empty(FRAMES, height, width)
    for number, mosaic in enumerate(mosaics):
        view = scene[down * number : down * number + height, right * number : right * number + width]
        for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
            mosaic[y::2, x::2] = torch.from_numpy(linear[view[y::2, x::2, channel]])
        mosaic.copy_(add_noise(mosaic[None], *PROTOCOL_LEVELS["high"], generator)[0])
    write_raw_folder(folder, mosaics, protocol_camera(), *PROTOCOL_LEVELS["high"])
