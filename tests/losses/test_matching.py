import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.losses import match_supervision, one_hot_pull


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), candidates=st.integers(1, 6))
def test_agree_with_loops(seed, candidates):
    generator = torch.Generator().manual_seed(seed)
    scores, clean = torch.randn(2, 2, 3, 4, candidates, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, 3, 4, candidates, generator=generator) < 0.7
    supervision = pull = 0.0
    for window in range(24):
        s, c, v = (x.reshape(24, candidates)[window] for x in (scores, clean, valid))
        supervision += sum(math.hypot(float(s[k] - c[k]), 1e-3) for k in range(candidates) if v[k])
        if v.sum() >= 2:
            pull += abs(s[v].var().item() - 1 / v.sum().item())
    assert match_supervision(scores, clean, valid).item() == pytest.approx(supervision, rel=1e-9)
    assert one_hot_pull(scores, valid).item() == pytest.approx(pull, rel=1e-9)


@pytest.mark.parametrize("valid_candidates", [2, 5, 9])
def test_pull_is_zero_for_one_hot_and_largest_for_equal_weights(valid_candidates):
    valid = torch.arange(9)[None] < valid_candidates
    one_hot = torch.eye(9)[:1]
    equal = valid / valid_candidates
    assert one_hot_pull(one_hot, valid).item() == pytest.approx(0, abs=1e-6)
    assert one_hot_pull(equal, valid).item() == pytest.approx(1 / valid_candidates)


def test_windows_without_a_choice_count_nothing():
    weights = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    valid = torch.tensor([[True, False, False], [False, False, False]])
    loss = one_hot_pull(weights, valid) + match_supervision(weights, weights.detach(), valid & False)
    assert loss.item() == 0
    (gradient,) = torch.autograd.grad(loss, weights)
    assert (gradient == 0).all()


@pytest.mark.parametrize("loss", [lambda x, v: match_supervision(x, torch.zeros_like(x), v), one_hot_pull])
def test_invalid_candidates_reach_neither_value_nor_gradient(loss):
    values = torch.tensor([[0.7, 0.3, math.nan, math.inf]], requires_grad=True)
    valid = torch.tensor([[True, True, False, False]])
    total = loss(values, valid)
    assert total.item() == pytest.approx(loss(values[:, :2], valid[:, :2]).item())
    (gradient,) = torch.autograd.grad(total, values)
    assert gradient.isfinite().all()
    assert (gradient[:, :2] != 0).all()
    assert (gradient[:, 2:] == 0).all()


def test_gradients_are_right():
    weights = torch.rand(2, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    valid = torch.tensor([[True, True, False, True, True], [True, False, False, True, True]])
    assert torch.autograd.gradcheck(lambda w: one_hot_pull(w, valid), weights)
    assert torch.autograd.gradcheck(lambda w: match_supervision(w, torch.zeros_like(w), valid), weights)
