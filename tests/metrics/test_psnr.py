import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.metrics import psnr

DATA = Path(__file__).parents[1] / "data"


def test_agrees_with_reference_number():
    golden = np.load(DATA / "metrics.npz")
    image, target = (torch.from_numpy(golden[name]).permute(2, 0, 1) for name in ("image1", "image2"))
    assert psnr(image, target, data_range=255) == pytest.approx(float(golden["psnr"]), rel=1e-5)
    assert psnr(image / 255, target / 255) == pytest.approx(float(golden["psnr"]), rel=1e-5)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), height=st.integers(1, 9), width=st.integers(1, 9))
def test_agrees_with_its_formula(seed, height, width):
    image, target = torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    expected = -10 * math.log10((image - target).square().mean().item())
    assert psnr(image, target) == pytest.approx(expected, abs=1e-9)


def test_equal_images():
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert psnr(image, image) == math.inf


def test_infinite_values_are_infinitely_far():
    assert psnr(torch.full((3, 8, 8), math.inf), torch.zeros(3, 8, 8)) == -math.inf


def test_takes_what_a_network_gives():
    image = torch.full((3, 8, 8), 0.5, dtype=torch.bfloat16, requires_grad=True)
    assert psnr(image, torch.full((3, 8, 8), 0.625)) == pytest.approx(-20 * math.log10(0.125))


@pytest.mark.parametrize(
    ("shape", "other"), [((3, 8, 8), (3, 8, 9)), ((1, 3, 8, 8), (1, 3, 8, 8)), ((8, 8, 3), (8, 8, 3))]
)
def test_wrong_shapes_are_named(shape, other):
    with pytest.raises(ValueError, match=r"^(image|target): found shape \(.*\), expected \(.*\)$"):
        psnr(torch.zeros(shape), torch.zeros(other))
