from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.isp import PROTOCOL_LEVELS, add_noise, noise_map, protocol_noise, random_noise_levels

DATA = Path(__file__).parents[1] / "data"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("level", ["high", "low"])
@pytest.mark.parametrize("frame_number", [1, 2])
def test_protocol_noise_agrees_with_reference_numbers(level, frame_number):
    golden = np.load(DATA / "test_noise.npz")
    shot, read = PROTOCOL_LEVELS[level]
    noisy = protocol_noise(torch.from_numpy(golden["mosaic"]), shot, read, frame_number)
    name = f"{level}/seed{frame_number}"
    np.testing.assert_allclose(noisy.numpy(), golden[f"{name}/noisy_unclipped"], atol=1e-6)
    expected = golden[f"{name}/noise_map"]
    np.testing.assert_allclose(noise_map(noisy.clamp(0, 1)[None], shot, read)[0].numpy(), expected, atol=1e-7)


def test_protocol_noise_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    protocol_noise(torch.rand(4, 2, 2, generator=generator()), 0.01, 0.01, 1)
    assert torch.equal(torch.get_rng_state(), before)


@settings(deadline=None, max_examples=8)
@given(
    value=st.floats(0.3, 0.7),
    shot=st.lists(st.floats(1e-4, 5e-3), min_size=2, max_size=2),
    read=st.lists(st.floats(1e-3, 3e-2), min_size=2, max_size=2),
    seed=st.integers(0, 2**32),
)
def test_noise_has_the_mean_and_variance_of_its_burst(value, shot, read, seed):
    raw = torch.full((2, 3, 4, 64, 64), value)
    noise = add_noise(raw, torch.tensor(shot), torch.tensor(read), generator(seed)) - raw
    for i in range(2):
        variance = shot[i] * value + read[i] ** 2
        # About 49 000 samples: six standard errors.
        assert noise[i].var().item() == pytest.approx(variance, rel=0.04)
        assert noise[i].mean().item() == pytest.approx(0, abs=0.03 * variance**0.5)


def test_noise_grows_with_the_signal():
    raw = torch.linspace(0.2, 0.8, 4).reshape(1, 4, 1, 1).expand(1, 4, 128, 128)
    noise = add_noise(raw, 2e-3, 1e-3, generator()) - raw
    expected = 2e-3 * raw[0, :, 0, 0] + 1e-6
    torch.testing.assert_close(noise[0].var(dim=(-2, -1)), expected, rtol=0.07, atol=0)


def test_noise_is_reproducible_and_clamped():
    raw = torch.rand(2, 5, 4, 8, 8, generator=generator())
    shot, read = torch.tensor([1e-2, 1e-3]), torch.tensor([3e-2, 3e-1])
    noisy = add_noise(raw, shot, read, generator(1))
    assert torch.equal(noisy, add_noise(raw, shot, read, generator(1)))
    assert not torch.equal(noisy, add_noise(raw, shot, read, generator(2)))
    assert noisy.min() == 0
    assert noisy.max() == 1


def test_noise_map_is_the_standard_deviation_of_every_burst():
    raw = torch.rand(2, 3, 4, 2, 2, generator=generator())
    shot, read = torch.tensor([1e-2, 1e-3]), torch.tensor([2e-2, 1e-3])
    found = noise_map(raw, shot, read).numpy()
    for i in range(2):
        expected = np.sqrt(shot[i].item() * raw[i].numpy() + read[i].item() ** 2)
        np.testing.assert_allclose(found[i], expected, rtol=1e-5)
    np.testing.assert_allclose(noise_map(raw, 1e-2, 2e-2)[0].numpy(), found[0], rtol=1e-5)


def test_gradient_is_finite_without_noise():
    raw = torch.tensor([0.0, 0.5, 1.0]).reshape(1, 1, 1, 3).requires_grad_()
    (gradient,) = torch.autograd.grad(add_noise(raw, 0.0, 0.0, generator()).sum(), raw)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_raw_decides_the_precision(dtype):
    raw = torch.rand(2, 4, 4, 4, generator=generator()).to(dtype)
    assert add_noise(raw, *random_noise_levels(2, generator()), generator()).dtype == dtype
    assert protocol_noise(raw[0], 0.01, 0.01, 1).dtype == dtype


def test_random_levels_are_log_uniform():
    shot, read = random_noise_levels(4000, generator())
    for level, low, high in ((shot, -4, -2), (read, -3, -1.5)):
        log = level.log10()
        assert log.min() >= low - 1e-4
        assert log.max() <= high + 1e-4
        assert log.mean().item() == pytest.approx((low + high) / 2, abs=0.05)
        assert log.std().item() == pytest.approx((high - low) / 12**0.5, rel=0.05)
    assert torch.corrcoef(torch.stack([shot.log(), read.log()]))[0, 1].abs() < 0.1
    assert torch.equal(shot, random_noise_levels(4000, generator())[0])
