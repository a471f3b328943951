import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.training.schedule import CosineRestarts

DATA = Path(__file__).parents[1] / "data"


def make(bases=(1e-4,), periods=(5, 10), restart_weights=(1, 0.5), eta_min=1e-6, warmup=0):
    parameters = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": base, "initial_lr": base} for base in bases]
    return torch.optim.Adam(parameters), CosineRestarts(periods, restart_weights, eta_min, warmup)


def rates(steps: int, group: int = 0, **arguments) -> list[float]:
    """Learning rate of each of the first steps."""
    optimizer, schedule = make(**arguments)
    found = []
    for iteration in range(steps):
        schedule.set_rates(optimizer, iteration)
        found.append(optimizer.param_groups[group]["lr"])
    return found


def test_reference_numbers() -> None:
    with np.load(DATA / "lr_schedule.npz") as golden:
        expected = golden["lr_after_step"]
        found = rates(
            len(expected) + 1,
            bases=[golden["base_lr"].item()],
            periods=golden["periods"].tolist(),
            restart_weights=golden["restart_weights"].tolist(),
            eta_min=golden["eta_min"].item(),
        )[1:]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * expected.max())


def test_peaks_ends_and_what_lies_between() -> None:
    found = rates(30, periods=[6, 10], restart_weights=[1, 0.5], eta_min=1e-6)
    assert found[0] == pytest.approx(1e-4)
    assert found[3] == pytest.approx((1e-4 + 1e-6) / 2)
    assert found[6] == pytest.approx(1e-6)  # the period ends on eta_min itself
    assert found[7] == pytest.approx(0.5 * 1e-4)
    assert found[12] == pytest.approx((0.5 * 1e-4 + 1e-6) / 2)
    assert found[17:] == pytest.approx([1e-6] * 13)  # nothing rises again after the last period
    assert all(later < earlier for earlier, later in pairwise(found[:7]))


def test_each_restart_begins_at_its_weight_times_the_rate_and_ends_on_the_lowest_rate() -> None:
    weights, periods, base, low = [1, 1, 0.5, 1, 0.25], [3, 4, 5, 6, 7], 4e-4, 1e-5
    expected = []
    for number, (weight, period) in enumerate(zip(weights, periods, strict=True)):
        for step in range(1 if number else 0, period + 1):
            # The first period counts from 0, the others begin one step after the end of the one before.
            phase = (step - 1 if number else step) / period
            expected.append(low + (weight * base - low) * (1 + math.cos(math.pi * phase)) / 2)
    found = rates(len(expected), bases=[base], periods=periods, restart_weights=weights, eta_min=low)
    assert found == pytest.approx(expected, rel=1e-9)
    peaks = [found[0], *(found[1 + end] for end in (3, 7, 12, 18))]
    assert peaks == pytest.approx([weight * base for weight in weights], rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(
    period=st.integers(1, 50),
    base=st.floats(1e-6, 1e-2),
    eta_min=st.floats(0, 1e-6),
)
def test_one_period_is_a_half_cosine(period, base, eta_min) -> None:
    found = rates(period + 1, bases=[base], periods=[period], restart_weights=[1], eta_min=eta_min)
    expected = [eta_min + (base - eta_min) * (0.5 + 0.5 * math.cos(math.pi * i / period)) for i in range(period + 1)]
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-18)


def test_every_group_has_its_own_peak_and_the_common_end() -> None:
    for group, base in enumerate((4e-4, 1e-5)):
        found = rates(6, group, bases=(4e-4, 1e-5), periods=[5], restart_weights=[1], eta_min=1e-7)
        assert (found[0], found[5]) == pytest.approx((base, 1e-7))


def test_a_rate_of_zero_stays_zero() -> None:
    assert rates(20, 1, bases=(1e-4, 0.0)) == [0.0] * 20


def test_warmup_grows_linearly_to_the_cosine() -> None:
    plain, warm = (rates(12, periods=[100], restart_weights=[1], warmup=warmup) for warmup in (0, 9))
    for iteration in range(12):
        assert warm[iteration] == pytest.approx(plain[iteration] * min((iteration + 1) / 10, 1))
