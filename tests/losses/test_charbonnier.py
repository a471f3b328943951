from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from twostagealign.losses import charbonnier

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(DATA / "losses.npz").items()}


def test_agrees_with_reference_numbers(golden):
    prediction, target, edges = golden["prediction"], golden["target"], golden["edge_map_of_prediction"]
    torch.testing.assert_close(charbonnier(prediction, target), golden["charbonnier_sum"], rtol=1e-6, atol=0)
    # Tight enough to tell weights on the differences from weights on the roots (553.22).
    masked = charbonnier(prediction, target, edges)
    torch.testing.assert_close(masked, golden["charbonnier_masked_sum"], rtol=1e-6, atol=0)


def test_gradient_is_right_and_zero_at_equality():
    generator = torch.Generator().manual_seed(0)
    prediction, target, weight = torch.rand(3, 2, 3, 4, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: charbonnier(x, target, weight), prediction.requires_grad_())
    (gradient,) = torch.autograd.grad(charbonnier(prediction, prediction.detach()), prediction)
    assert (gradient == 0).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_does_not_overflow(dtype):
    prediction = torch.ones(400, 400, dtype=dtype)
    total = charbonnier(prediction, torch.zeros_like(prediction), torch.ones_like(prediction))
    assert total.item() == pytest.approx(160_000, rel=1e-4)


def test_shapes_must_agree():
    image = torch.zeros(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"^target: found shape \(3, 4, 4\), expected \(2, 3, 4, 4\)$"):
        charbonnier(image, image[0])
    with pytest.raises(ValueError, match=r"^weight: found shape \(2, 1, 4, 4\), expected \(2, 3, 4, 4\)$"):
        charbonnier(image, image, image[:, :1])
