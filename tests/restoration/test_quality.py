import numpy as np
import pytest
import torch

from twostagealign.isp import Camera, process, random_camera
from twostagealign.metrics import psnr, ssim
from twostagealign.restoration.quality import Quality, develop, measure, picture


def test_develop_applies_all_gains() -> None:
    camera = random_camera(1, torch.Generator().manual_seed(0))
    linear = torch.rand(3, 4, 6)
    srgb = develop(linear.to(torch.bfloat16), camera)
    assert srgb.dtype == torch.float32
    expected = process(linear.to(torch.bfloat16).float()[None], camera, with_rgb_gain=True)[0]
    assert torch.equal(srgb, expected)
    brighter = Camera(camera.rgb2cam, camera.red_gain, camera.blue_gain, 1.5 * camera.rgb_gain)
    assert develop(linear, brighter).mean() > srgb.mean()


def test_measure_is_on_unrounded_pixels_of_255() -> None:
    srgb, target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert measure(srgb, target) == Quality(
        pytest.approx(psnr(srgb, target), rel=1e-5), pytest.approx(ssim(srgb, target), rel=1e-5)
    )
    mse = (srgb - target).double().square().mean().item()
    assert measure(srgb, target).psnr == pytest.approx(-10 * np.log10(mse), rel=1e-5)


def test_picture_is_tone_mapped_and_rounded_to_8_bits() -> None:
    srgb = torch.linspace(0, 1, 3 * 5 * 7).reshape(3, 5, 7)
    found = picture(srgb)
    assert found.shape == (5, 7, 3)
    assert found.dtype == np.uint8
    x = srgb.double().numpy()
    expected = np.rint(255 * (3 * x**2 - 2 * x**3)).transpose(1, 2, 0)
    assert np.abs(found - expected).max() <= 1e-9 + (np.abs(255 * (3 * x**2 - 2 * x**3) % 1 - 0.5).min() < 1e-3)
    assert (found.min(), found.max()) == (0, 255)
