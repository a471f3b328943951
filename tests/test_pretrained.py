"""The shipped checkpoint does what it is shipped for."""

import pytest

from twostagealign.data import PROTOCOL_NOISE, ClipInMemory, bundled_picture, burst_from_picture, read_burst
from twostagealign.matching import Search
from twostagealign.models.checkpoint import find_checkpoint, open_restorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure
from twostagealign.restoration.tiling import Tiling
from twostagealign.studies.classical import demosaicked

TINY = find_checkpoint("tiny")


@pytest.fixture(scope="module")
def burst():
    frames, _ = burst_from_picture(bundled_picture("astronaut"), size=(256, 256), speed=(16, 24), seed=3)
    return read_burst(ClipInMemory("astronaut", frames, PROTOCOL_NOISE["high"]), range(5))


def _psnr(burst, **search):
    restored = restore_frame(open_restorer(TINY, search=Search(**search)), burst, Tiling()).image
    return measure(develop(restored, burst.camera), develop(burst.target(), burst.camera)).psnr


def test_it_is_small_and_has_a_card():
    assert TINY.stat().st_size <= 4e6
    assert TINY.with_suffix(".md").exists()


def test_it_removes_noise(burst):
    noisy = measure(demosaicked(burst), develop(burst.target(), burst.camera)).psnr
    assert _psnr(burst) > noisy + 4


def test_large_shifts_need_stage_one(burst):
    assert _psnr(burst) > _psnr(burst, block_matching=False) + 0.2
