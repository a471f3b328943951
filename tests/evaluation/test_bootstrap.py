import itertools

import numpy as np
import pytest

from twostagealign.evaluation.bootstrap import compare, paired_bootstrap
from twostagealign.evaluation.results import FrameResult, Memory, Seconds


def test_interval_of_many_frames_is_that_of_the_normal_distribution() -> None:
    random = np.random.default_rng(1)
    clips = [random.normal(0.1, 0.2, 400), random.normal(-0.05, 0.1, 250), random.normal(0.3, 0.5, 600)]
    found, low, high = paired_bootstrap(clips)
    mean = np.mean([clip.mean() for clip in clips])
    deviation = np.sqrt(sum(clip.var() / len(clip) for clip in clips)) / 3
    assert found == pytest.approx(mean)
    assert (low - mean, high - mean) == pytest.approx((-1.96 * deviation, 1.96 * deviation), rel=0.05)


def test_interval_of_few_frames_is_that_of_all_draws() -> None:
    draws = [np.mean(draw) for draw in itertools.product([0.1, 0.2, 0.9], repeat=3)]
    _, *found = paired_bootstrap([[0.1, 0.2, 0.9], [0.5]], confidence=0.8)  # a clip of one frame has no spread
    expected = [(np.quantile(draws, share) + 0.5) / 2 for share in (0.1, 0.9)]
    assert found == pytest.approx(expected)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        _, low, high = paired_bootstrap([random.normal(0.5, 1, 60)], confidence=0.8, resamples=400)
        hits += low <= 0.5 <= high
    assert 140 <= hits <= 180  # 160 expected


def test_draw_is_the_same_every_time_and_one_frame_has_no_spread() -> None:
    clips = [[0.1, 0.2, 0.4], [0.3, 0.1]]
    assert paired_bootstrap(clips) == paired_bootstrap(clips)
    assert paired_bootstrap([[0.25]]) == (0.25, 0.25, 0.25)


def frame(clip: str, name: str, psnr: float | None, lpips: float | None = None) -> FrameResult:
    return FrameResult(
        psnr=psnr,
        ssim=None,
        lpips=lpips,
        clip=clip,
        frame=name,
        index=0,
        part="center",
        window=[name],
        seconds=Seconds(matching=0, network=0, stitching=0),
        memory=Memory(resident=1, device=None),
        pictures=None,
    )


def test_frames_are_paired_and_what_has_no_partner_is_left_out() -> None:
    frames = {
        "a": [frame("x", "0", 30, 0.2), frame("x", "1", 20, 0.1), frame("y", "0", 25)],
        "b": [frame("x", "1", 21, 0.4), frame("x", "0", 31, 0.2), frame("y", "9", 99)],
    }
    psnr, lpips = compare("high", "a", "b", frames)
    assert (psnr.metric, psnr.frames, psnr.noise) == ("psnr", 2, "high")
    assert (psnr.difference, psnr.low, psnr.high) == pytest.approx((1, 1, 1))  # frames differ by 10 dB, pairs do not
    assert (lpips.metric, lpips.difference) == ("lpips", pytest.approx(0.15))


def test_nothing_to_compare() -> None:
    assert compare("camera", "a", "b", {"a": [frame("x", "0", None)], "b": [frame("x", "0", None)]}) == []
