"""The shipped checkpoints do what they are shipped for."""

import pytest
import torch

from twostagealign.data import PROTOCOL_NOISE, ClipInMemory, bundled_picture, burst_from_picture, read_burst
from twostagealign.data.burst import NoiseLevel
from twostagealign.matching import Search
from twostagealign.models.checkpoint import find_checkpoint, open_restorer, shipped_checkpoints
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.studies.classical import demosaicked

TINY = find_checkpoint("tiny")
each_checkpoint = pytest.mark.parametrize("checkpoint", shipped_checkpoints().values(), ids=shipped_checkpoints())


@pytest.fixture(scope="module")
def burst():
    frames, _ = burst_from_picture(bundled_picture("astronaut"), size=(256, 256), speed=(16, 24), seed=3)
    return read_burst(ClipInMemory("astronaut", frames, PROTOCOL_NOISE["high"]), range(5))


def _psnr(burst, checkpoint=TINY, **search):
    restored = restore_frame(open_restorer(checkpoint, search=Search(**search)), burst, Tiling()).image
    return measure(develop(restored, burst.camera), develop(burst.target(), burst.camera)).psnr


@each_checkpoint
def test_it_is_small_and_has_a_card(checkpoint):
    assert checkpoint.stat().st_size <= 4e6
    assert checkpoint.with_suffix(".md").exists()


@each_checkpoint
def test_it_removes_noise(burst, checkpoint):
    noisy = measure(demosaicked(burst), develop(burst.target(), burst.camera)).psnr
    assert _psnr(burst, checkpoint) > noisy + 4


@pytest.mark.parametrize("noise", [*PROTOCOL_NOISE.values(), NoiseLevel("least", 1e-5, 2e-4)], ids=lambda x: x.name)
def test_bfloat16_costs_neither_quality_nor_levels(noise):
    frames, _ = burst_from_picture(bundled_picture("astronaut"), size=(256, 256), speed=(16, 24), seed=3)
    burst = read_burst(ClipInMemory("astronaut", frames, noise), range(5))
    truth = develop(burst.target(), burst.camera)
    pictures, qualities, levels = [], [], []
    for dtype in (torch.float32, torch.bfloat16):
        linear = restore_frame(open_restorer(TINY).compute_in(dtype), burst, FAST).image
        srgb = develop(linear, burst.camera)
        pictures.append((255 * srgb).round())
        qualities.append(measure(srgb, truth).psnr)
        levels.append(len((65535 * linear.clamp(0, 1)).round().unique()))
    assert qualities[1] > qualities[0] - 0.02
    # The picture is darker than most, and the tone curve amplifies differences where it is dark.
    assert ((pictures[1] - pictures[0]).abs() <= 1).float().mean() >= 0.995
    assert not torch.equal(*pictures)
    assert levels[1] > 0.95 * levels[0]


def test_large_shifts_need_stage_one(burst):
    assert _psnr(burst) > _psnr(burst, block_matching=False) + 0.2
