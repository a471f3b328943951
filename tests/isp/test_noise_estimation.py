from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.data import PROTOCOL_NOISE, bundled_picture, degrade_by_protocol
from twostagealign.isp import PROTOCOL_LEVELS, estimate_burst_noise, estimate_noise


def noisy(clean: torch.Tensor, shot: float, read: float, seed: int = 0) -> torch.Tensor:
    normal = torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed))
    return clean + normal * (shot * clean + read**2).sqrt()


@settings(deadline=None, max_examples=10)
@given(log_shot=st.floats(-4, -2), log_read=st.floats(-3, -1.5), seed=st.integers(0, 2**32))
def test_noise_of_smooth_planes(log_shot, log_read, seed) -> None:
    """What is found predicts the deviation at any brightness, whatever shot and read noise have to do with it."""
    shot, read = 10**log_shot, 10**log_read
    found_shot, found_read = estimate_noise(noisy(torch.linspace(0, 0.8, 600).expand(4, 600, 600), shot, read, seed))
    signal = np.array([0.01, 0.1, 0.7])
    deviation = np.sqrt(shot * signal + read**2)
    np.testing.assert_allclose(np.sqrt(found_shot * signal + found_read**2), deviation, rtol=0.12)


@pytest.mark.parametrize("level", PROTOCOL_LEVELS)
@pytest.mark.parametrize("name", ["astronaut", "chelsea", "rocket", "motorcycle_left"])
def test_noise_of_photographs(name, level) -> None:
    """Shown within a sixth although they are textured, small, and clipped at black."""
    picture = torch.from_numpy(bundled_picture(name)).permute(2, 0, 1)
    picture = picture[..., : picture.shape[-2] // 2 * 2, : picture.shape[-1] // 2 * 2]
    shot, read = PROTOCOL_LEVELS[level]
    found_shot, found_read = estimate_noise(degrade_by_protocol(picture, PROTOCOL_NOISE[level], 1).raw())
    signal = np.array([0.1, 0.4])
    ratio = np.sqrt((found_shot * signal + found_read**2) / (shot * signal + read**2))
    np.testing.assert_allclose(ratio, 1, atol=0.17)


def test_texture_is_not_taken_for_noise() -> None:
    """A chequered half of the frame, in all its brightnesses, whose detail is tenfold the noise."""
    clean = torch.linspace(0.2, 0.6, 200).expand(4, 200, 200).clone()
    clean[:, :100:2, ::2] += 0.1
    shot, read = estimate_noise(noisy(clean, 0, 1e-2))
    assert (shot * 0.4 + read**2) ** 0.5 == pytest.approx(1e-2, rel=0.1)


def test_noise_that_falls_with_the_signal_has_no_shot_noise() -> None:
    clean = torch.linspace(0.1, 0.9, 300).expand(4, 300, 300)
    planes = clean + (noisy(clean, 0, 1e-2) - clean) * (1.5 - clean)
    shot, read = estimate_noise(planes)
    assert shot == 0
    assert 0.6e-2 < read < 1.4e-2


def test_files_of_coarse_steps() -> None:
    """Noise of half a step."""
    stored = (noisy(torch.linspace(10, 60, 300).expand(4, 300, 300), 0, 0.5)).round()
    shot, read = estimate_noise(stored / 100)
    expected = (0.5**2 + 1 / 12) ** 0.5 / 100
    assert (shot * 0.3 + read**2) ** 0.5 == pytest.approx(expected, rel=0.1)


def test_without_noise() -> None:
    shot, read = estimate_noise(torch.linspace(0.1, 0.9, 200).expand(4, 200, 200))
    assert max(shot, read) < 1e-3


@pytest.mark.parametrize(
    "planes",
    [torch.rand(4, 30, 30), torch.zeros(4, 200, 200), (torch.rand(4, 200, 200) * 2).clamp(max=1)],
    ids=["small", "black", "clipped"],
)
def test_planes_that_do_not_show_it(planes) -> None:
    with pytest.raises(ValueError, match="no two brightnesses"):
        estimate_noise(planes)


def test_a_burst_shows_its_noise_better_than_a_frame() -> None:
    """A textured photograph that moves, within a fourteenth."""
    picture = torch.from_numpy(bundled_picture("motorcycle_left")).permute(2, 0, 1)
    for name, (shot, read) in PROTOCOL_LEVELS.items():
        frames = [
            degrade_by_protocol(picture[:, 6 * i : 6 * i + 440, 4 * i : 4 * i + 680], PROTOCOL_NOISE[name], i + 1).raw()
            for i in range(5)
        ]
        rows = [partial(lambda planes, rows: planes[:, rows], frame) for frame in frames]
        found_shot, found_read = estimate_burst_noise(rows, frames[0].shape[1:])
        signal = np.array([0.1, 0.4])
        ratio = np.sqrt((found_shot * signal + found_read**2) / (shot * signal + read**2))
        np.testing.assert_allclose(ratio, 1, atol=0.07)
