"""Frames of different noise: what their average gains, and what it must not contain."""

import pytest
import torch
from torch import Tensor

from twostagealign.merging import UNKNOWN, equalise_noise

CLEAN = 0.4


def noisy(deviations: list[float]) -> tuple[Tensor, Tensor]:
    """Frames of an even grey, and their noise, (N, 4, 64, 64)."""
    noise = torch.tensor(deviations)[:, None, None, None].expand(-1, 4, 64, 64).clone()
    return CLEAN + noise * torch.randn(noise.shape, generator=torch.Generator().manual_seed(0)), noise


def variance(samples: Tensor) -> float:
    return (samples - CLEAN).square().mean().item()


@pytest.mark.parametrize("count", [2, 5])
def test_frames_of_equal_noise_stay(count) -> None:
    samples, noise = noisy([0.02] * count)
    for found, expected in zip(equalise_noise(samples, noise), (samples, noise), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "deviations", [[0.02, 0.04, 0.02, 0.015, 0.02], [0.06, 0.06, 0.02, 0.06, 0.06], [0.03, 0.02]], ids=str
)
def test_the_mean_is_the_best_one(deviations) -> None:
    """Its noise is that of the average weighted by noise, as the new noise says. Neighbours get no noisier."""
    samples, noise = noisy(deviations)
    mixed, new_noise = equalise_noise(samples, noise)
    count, middle = len(samples), len(samples) // 2
    best = 1 / sum(deviation**-2 for deviation in deviations)
    assert variance(mixed.mean(dim=0)) == pytest.approx(best, rel=0.05)
    assert (new_noise.square() / count).mean().item() == pytest.approx(best, rel=0.02)
    assert torch.equal(mixed[middle], samples[middle])
    neighbours = [variance(frame) for index, frame in enumerate(mixed) if index != middle]
    assert sum(neighbours) / len(neighbours) < 1.05 * deviations[middle] ** 2


def test_a_neighbour_with_hardly_any_noise_does_not_outweigh_the_others() -> None:
    """It may show something else, and the reference must still be seen in the mean."""
    samples, noise = noisy([0.02, 0.02, 0.02, 0.001, 0.02])
    samples[3] += 0.3
    assert (equalise_noise(samples, noise)[0].mean() - CLEAN).item() == pytest.approx(0.3 * 2 / 6, rel=0.05)


def test_unknown_samples_and_samples_beyond_a_frame_do_not_count() -> None:
    samples, noise = noisy([0.02, 0.04, 0.02, 0.015, 0.02])
    samples[0, :, 10:30], noise[0, :, 10:30] = 0.9, UNKNOWN
    samples[3, :, :, :20], noise[3, :, :, :20] = 0, 0
    mixed, new_noise = equalise_noise(samples, noise)
    assert mixed.isfinite().all()
    assert new_noise.isfinite().all()
    assert (mixed - CLEAN).abs().max() < 0.15


def test_a_reference_that_is_not_known_leaves_all_as_it_is() -> None:
    samples, noise = noisy([0.02, 0.04, 0.02])
    noise[1, :, :5] = 0
    mixed, new_noise = equalise_noise(samples, noise)
    assert torch.equal(mixed[:, :, :5], samples[:, :, :5])
    assert torch.equal(new_noise[:, :, :5], noise[:, :, :5])
