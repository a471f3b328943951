"""Benchmark of what bfloat16 costs in quality: a moving photograph, restored in float32 and in bfloat16."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from twostagealign.data import PROTOCOL_NOISE, NoiseLevel
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.folder import restore_burst
from twostagealign.restoration.tiling import FAST
from twostagealign.studies.ablation.scenes import AblationScene, bundled_scenes
from twostagealign.studies.benchmarks.measurement import Measurement
from twostagealign.studies.benchmarks.subjects import tiny_restorer

LEVELS = (PROTOCOL_NOISE["high"], PROTOCOL_NOISE["low"], NoiseLevel("very low", 1e-5, 2e-4))


def benchmark_precision(
    scene: AblationScene | None = None, levels: Sequence[NoiseLevel] = LEVELS, restorer: TwoStageRestorer | None = None
) -> Iterator[Measurement]:
    """Restore a burst in float32 and in bfloat16, with the settings of `restore.py`, and compare the pictures.

    Args:
        scene: clean frames; None: a photograph that moves by 8 raw pixels from frame to frame.
        levels: noise that is added.
        restorer: restorer to measure, in float32; None: the shipped narrow network.
    """
    scene = scene or next(each for each in bundled_scenes() if each.picture == "coffee" and each.shift == 8)
    restorer = restorer or tiny_restorer()
    for noise in levels:
        burst = scene.burst(noise)
        full, low = (
            restore_burst(restorer.compute_in(dtype), burst, FAST, linear=True)
            for dtype in (torch.float32, torch.bfloat16)
        )
        assert full.quality
        assert low.quality
        assert low.linear is not None
        within = float((np.abs(full.picture.astype(np.int16) - low.picture).max(axis=2) <= 1).mean())
        what = f"nf 16, {noise.name} noise, bfloat16"
        yield Measurement(f"{what}, loss of PSNR", full.quality.psnr - low.quality.psnr, "dB", at_most=0.02)
        yield Measurement(f"{what}, pixels within 1 level of 255", 100 * within, "%", at_least=99.9)
        yield Measurement(f"{what}, levels of 16 bits, linear", len(np.unique(low.linear)), "", at_least=20_000)
