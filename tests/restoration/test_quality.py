import numpy as np
import pytest
import torch

from twostagealign.isp import Camera, process, random_camera
from twostagealign.metrics import psnr, ssim
from twostagealign.restoration.quality import Quality, develop, find_detail, measure, to_uint8


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


def test_equal_pictures_have_a_finite_psnr() -> None:
    """JSON has no infinity, and one black frame would make every mean infinite."""
    srgb = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert measure(srgb, srgb.clone()) == Quality(100, pytest.approx(1))


def test_picture_is_tone_mapped_and_rounded_to_8_bits() -> None:
    srgb = torch.linspace(0, 1, 3 * 5 * 7).reshape(3, 5, 7)
    found = to_uint8(srgb)
    assert found.shape == (5, 7, 3)
    assert found.dtype == np.uint8
    x = srgb.double().numpy()
    expected = np.rint(255 * (3 * x**2 - 2 * x**3)).transpose(1, 2, 0)
    assert np.abs(found - expected).max() <= 1e-9 + (np.abs(255 * (3 * x**2 - 2 * x**3) % 1 - 0.5).min() < 1e-3)
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize(("y", "x"), [(0, 0), (100, 120), (200, 40)])
def test_the_window_is_where_the_detail_is(y: int, x: int) -> None:
    picture = np.zeros((400, 520, 3), np.uint8)
    picture[y : y + 96, x : x + 96] = np.kron(np.indices((12, 12)).sum(0) % 2 * 255, np.ones((8, 8)))[..., None]
    top, left = find_detail(picture, (160, 200))
    assert top <= y + 2
    assert left <= x + 2
    assert top + 160 >= y + 94
    assert left + 200 >= x + 94


@pytest.mark.parametrize("shape", [(400, 30), (31, 520), (3, 2), (300, 400)])
def test_the_window_stays_inside(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for place, side, whole in zip(find_detail(picture, (160, 200)), (160, 200), shape, strict=True):
        assert 0 <= place <= max(whole - side, 0)
