import numpy as np
import pytest

from twostagealign.isp import find_saturation

BLACK, WHITE = 256, 4095


def counts(samples: np.ndarray) -> np.ndarray:
    return np.bincount(samples.clip(0, 65535).round().astype(int).ravel(), minlength=2**16)


def exposed(top: float, brightest: float = 5000, spread: float = 0, share: float = 1.0) -> np.ndarray:
    """Samples of a ramp that saturates at `top`; the sensor's wells differ by `spread`."""
    rng = np.random.default_rng(0)
    signal = rng.uniform(0, brightest, 100_000)
    signal[: int(len(signal) * (1 - share))] *= 0.5 * top / brightest
    noisy = signal + rng.normal(size=len(signal)) * np.sqrt(8 * signal + 100)
    return BLACK + np.minimum(noisy, top - BLACK + rng.normal(size=len(signal)) * spread)


@pytest.mark.parametrize("top", [2500, 3400, 4000])
@pytest.mark.parametrize("share", [1.0, 0.01])
def test_samples_pile_up_where_the_sensor_saturates(top, share) -> None:
    assert find_saturation(counts(exposed(top, share=share)), BLACK, WHITE) == top


def test_wells_of_different_depth() -> None:
    samples = exposed(3400, spread=2)
    level = find_saturation(counts(samples), BLACK, WHITE)
    assert 3390 <= level < 3400
    assert (samples[samples > 3380] >= level).mean() > 0.95


def test_a_few_stuck_samples_above_do_not_hide_it() -> None:
    samples = exposed(3400)
    samples[:8] = 4095
    assert find_saturation(counts(samples), BLACK, WHITE) == 3400


@pytest.mark.parametrize("brightest", [1000, 2500, 3500])
def test_nothing_is_found_where_nothing_saturates(brightest) -> None:
    assert find_saturation(counts(exposed(1e9, brightest)), BLACK, WHITE) is None


def test_nothing_is_found_where_samples_reach_the_white_level() -> None:
    assert find_saturation(counts(exposed(WHITE)), BLACK, WHITE) is None
    assert find_saturation(counts(exposed(WHITE - 3)), BLACK, WHITE) is None


def test_a_bright_wall_is_not_saturated() -> None:
    rng = np.random.default_rng(0)
    wall = BLACK + rng.normal(3000, 12, 50_000)  # the noise of a sensor of 40000 electrons
    assert find_saturation(counts(np.concatenate([exposed(1e9, 1000), wall])), BLACK, WHITE) is None


def test_too_few_samples() -> None:
    assert find_saturation(counts(np.full(9, 3400)), BLACK, WHITE) is None
    assert find_saturation(counts(np.zeros(0)), BLACK, WHITE) is None
