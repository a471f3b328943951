import numpy as np
import pytest
from scipy.stats import bootstrap

from twostagealign.evaluation.bootstrap import compare, paired_bootstrap
from twostagealign.evaluation.results import FrameResult, Memory, Seconds


def test_interval_agrees_with_scipy() -> None:
    random = np.random.default_rng(1)
    clips = [random.normal(0.1, 0.2, 40), random.normal(-0.05, 0.1, 25), random.normal(0.3, 0.5, 60)]
    found = paired_bootstrap(clips)
    expected = bootstrap(
        clips,
        lambda *samples, axis=-1: np.mean([sample.mean(axis=axis) for sample in samples], axis=0),
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(2),
    ).confidence_interval
    assert found.mean == pytest.approx(np.mean([clip.mean() for clip in clips]))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=4e-3)  # two draws of 10 000


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    random = np.random.default_rng(3)
    hits = 0
    for _ in range(200):
        found = paired_bootstrap([random.normal(0.5, 1, 60)], confidence=0.8, resamples=400)
        hits += found.low <= 0.5 <= found.high
    assert 140 <= hits <= 180  # 160 expected


def test_draw_is_the_same_every_time_and_one_frame_has_no_spread() -> None:
    clips = [[0.1, 0.2, 0.4], [0.3, 0.1]]
    assert paired_bootstrap(clips) == paired_bootstrap(clips)
    single = paired_bootstrap([[0.25]])
    assert (single.mean, single.low, single.high) == (0.25, 0.25, 0.25)


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
