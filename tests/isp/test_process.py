from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from twostagealign.isp import Camera, apply_gains, compress_gamma, expand_gamma, process, random_camera, tone_curve

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(DATA / "isp.npz").items()}


@pytest.fixture(scope="module")
def camera(golden) -> Camera:
    return Camera(golden["rgb2cam"][None], golden["red_gain"], golden["blue_gain"], golden["rgb_gain"])


def test_process_agrees_with_reference_numbers(golden, camera):
    linear = golden["linear"][None]
    for with_rgb_gain, name in ((False, "process_train"), (True, "process_test")):
        srgb = process(linear, camera, with_rgb_gain=with_rgb_gain)[0]
        torch.testing.assert_close(srgb, golden[name], rtol=0, atol=1e-5)
    torch.testing.assert_close(tone_curve(srgb), golden["process_test_tone_mapped"], rtol=0, atol=1e-5)


def test_every_burst_has_its_gains():
    camera = random_camera(2, torch.Generator().manual_seed(0))
    balanced = apply_gains(torch.ones(2, 4, 3, 1, 1), camera, with_rgb_gain=True)
    for i in range(2):
        gains = torch.stack([camera.red_gain[i], torch.tensor(1.0), camera.blue_gain[i]]) * camera.rgb_gain[i]
        torch.testing.assert_close(balanced[i, :, :, 0, 0], gains.expand(4, 3))


def test_gamma_compression_and_expansion_undo_each_other():
    image = torch.linspace(0.001, 1, 100)
    torch.testing.assert_close(expand_gamma(compress_gamma(image)), image)
    torch.testing.assert_close(compress_gamma(image, offset=0.01), (image + 0.01) ** (1 / 2.2))


@pytest.mark.parametrize("offset", [0.0, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gradients_are_finite(offset, dtype, camera):
    linear = torch.tensor([-0.5, 0.0, 1e-12, 0.5, 1.0, 2.0], dtype=dtype).reshape(1, 1, 1, -1).repeat(1, 3, 1, 1)
    linear.requires_grad_()
    srgb = process(linear, camera, gamma_offset=offset)
    assert srgb.dtype == dtype
    assert srgb.isfinite().all()
    (gradient,) = torch.autograd.grad(srgb.sum(), linear)
    assert gradient.isfinite().all()
    assert gradient[..., 3].abs().max() > 0


def test_offset_bounds_the_gradient_in_the_dark():
    dark = torch.tensor([1e-7], requires_grad=True)
    slopes = [torch.autograd.grad(compress_gamma(dark, offset), dark)[0].item() for offset in (0.0, 0.01)]
    assert slopes[0] > 1000
    assert slopes[1] < 10


def test_gradients_are_right():
    camera = random_camera(2, torch.Generator().manual_seed(0)).to(dtype=torch.float64)
    linear = 0.1 + 0.1 * torch.rand(2, 2, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: process(x, camera), linear.requires_grad_())
