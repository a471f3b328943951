from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twostagealign.isp import (
    Camera,
    apply_matrix,
    expand_gamma,
    invert_gains,
    invert_tone_curve,
    process,
    protocol_camera,
    random_camera,
    tone_curve,
    unprocess,
)

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(DATA / "isp.npz").items()}


@pytest.fixture(scope="module")
def camera(golden) -> Camera:
    return Camera(golden["rgb2cam"][None], golden["red_gain"], golden["blue_gain"], golden["rgb_gain"])


def test_unprocess_agrees_with_reference_numbers(golden, camera):
    untoned = invert_tone_curve(golden["srgb"])
    torch.testing.assert_close(untoned, golden["step_inverse_smoothstep"], rtol=0, atol=1e-6)
    torch.testing.assert_close(expand_gamma(untoned), golden["step_gamma_expansion"], rtol=0, atol=1e-6)
    torch.testing.assert_close(unprocess(golden["srgb"][None], camera)[0], golden["linear"], rtol=0, atol=1e-6)


def test_every_burst_and_frame_is_treated_by_itself():
    generator = torch.Generator().manual_seed(0)
    cameras = random_camera(2, generator)
    srgb = torch.rand(2, 3, 3, 4, 6, generator=generator)
    linear = unprocess(srgb, cameras)
    for i in range(2):
        for k in range(3):
            torch.testing.assert_close(linear[i, k], unprocess(srgb[i : i + 1, k], cameras[i])[0])


def test_one_camera_serves_all_bursts():
    srgb = torch.rand(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(unprocess(srgb, protocol_camera(1)), unprocess(srgb, protocol_camera(3)))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**32), frames=st.integers(1, 3))
def test_process_undoes_unprocess_where_nothing_clips(seed, frames):
    generator = torch.Generator().manual_seed(seed)
    cameras = random_camera(2, generator)
    grey = 0.15 + 0.45 * torch.rand(2, frames, 1, 6, 8, generator=generator)
    srgb = grey + 0.05 * torch.rand(2, frames, 3, 6, 8, generator=generator)
    back = tone_curve(process(unprocess(srgb, cameras), cameras))
    torch.testing.assert_close(back, srgb, rtol=0, atol=1e-4)


def test_apply_matrix_multiplies_every_pixel():
    generator = torch.Generator().manual_seed(0)
    image, matrix = torch.rand(2, 3, 3, 4, 5, generator=generator), torch.randn(2, 3, 3, generator=generator)
    expected = torch.einsum("bij,bnjhw->bnihw", matrix, image)
    torch.testing.assert_close(apply_matrix(image, matrix), expected)


def test_highlights_stay_white():
    camera = protocol_camera()
    white = torch.ones(1, 3, 2, 2)
    torch.testing.assert_close(unprocess(white, camera), white)
    # A darker grey is divided by the gains.
    grey = torch.full((1, 3, 1, 1), 0.85)
    torch.testing.assert_close(invert_gains(grey, camera).flatten(), torch.tensor([0.85 / 2, 0.85, 0.85 / 1.7]))


def test_gains_above_one_are_not_weakened():
    # With rgb_gain < 1 green is divided by less than 1, in highlights too.
    camera = Camera(torch.eye(3)[None], torch.tensor([2.0]), torch.tensor([1.7]), torch.tensor([0.9]))
    image = torch.tensor([0.95, 0.88, 0.97]).reshape(1, 3, 1, 1)
    gains = torch.tensor([1 / 2.0, 1, 1 / 1.7]) / 0.9
    mask = ((image.mean() - 0.9) / 0.1) ** 2
    expected = image.flatten() * torch.maximum(mask + (1 - mask) * gains, gains)
    torch.testing.assert_close(invert_gains(image, camera).flatten(), expected.clamp(0, 1))


def test_gradients_are_right():
    camera = random_camera(2, torch.Generator().manual_seed(0)).to(dtype=torch.float64)
    srgb = (0.1 + 0.5 * torch.rand(2, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0))).double().requires_grad_()
    assert torch.autograd.gradcheck(invert_tone_curve, srgb)
    assert torch.autograd.gradcheck(lambda x: unprocess(x, camera), srgb)


def test_gradients_are_finite_at_the_ends():
    values = torch.tensor([-1.0, -1e-9, 0.0, 1e-30, 1e-9, 1e-4, 1 - 6e-8, 1.0, 1.5])
    srgb = values.reshape(1, 1, 1, -1).repeat(1, 3, 1, 1).requires_grad_()
    for function in (invert_tone_curve, lambda x: unprocess(x, protocol_camera())):
        (gradient,) = torch.autograd.grad(function(srgb).sum(), srgb)
        assert gradient.isfinite().all()
        assert (gradient[..., [0, -1]] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_the_image_decides_the_precision(dtype, golden, camera):
    linear = unprocess(golden["srgb"][None].to(dtype), camera)
    assert linear.dtype == dtype
    assert (linear[0].float() - golden["linear"]).abs().max() < 8 * torch.finfo(dtype).eps + 1e-6


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 4, 4), (3, 3, 4, 4)])
def test_wrong_shapes_are_named_in_one_line(shape):
    with pytest.raises(ValueError, match=r"^image: found shape \(.*\), expected \(2, ..., 3, height, width\)$"):
        unprocess(torch.zeros(shape), protocol_camera(2))
