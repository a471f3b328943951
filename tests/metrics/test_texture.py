import pytest
import torch
from torch.nn import functional as F

from twostagealign.metrics import texture_correlation, texture_ratio

DRAW = torch.Generator().manual_seed(0)
TEXTURE = 0.5 + 0.05 * torch.randn(1, 96, 96, generator=DRAW).expand(3, -1, -1)


def blurred(picture: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(picture, 3, 1, 1, count_include_pad=False)


def test_equal_pictures() -> None:
    assert texture_ratio(TEXTURE, TEXTURE) == pytest.approx(1)
    assert texture_correlation(TEXTURE, TEXTURE) == pytest.approx(1)


def test_waxy_pictures_have_less_of_the_right_texture() -> None:
    waxy = 0.5 + 0.5 * (TEXTURE - 0.5)
    assert texture_ratio(waxy, TEXTURE) == pytest.approx(0.25)
    assert texture_correlation(waxy, TEXTURE) == pytest.approx(1)
    assert texture_ratio(blurred(TEXTURE), TEXTURE) < 0.2
    assert 0 < texture_correlation(blurred(TEXTURE), TEXTURE) < 0.6


def test_noise_is_not_texture() -> None:
    other = 0.5 + 0.05 * torch.randn(1, 96, 96, generator=DRAW).expand(3, -1, -1)
    assert texture_ratio(other, TEXTURE) == pytest.approx(1, abs=0.15)
    assert abs(texture_correlation(other, TEXTURE)) < 0.1


def test_even_areas_and_strong_edges_do_not_count() -> None:
    picture = torch.full((3, 96, 96), 0.5)
    picture[:, :, 24:72] = TEXTURE[:, :, 24:72]
    picture[:, :, 72:] = 0.2 + 0.6 * (torch.arange(24) % 2)
    changed = picture.clone()
    changed[:, :, :12] += 0.01 * torch.randn(96, 12, generator=DRAW)
    changed[:, :, 84:] = 0.5
    assert texture_ratio(changed, picture) == pytest.approx(1, abs=0.02)


def test_pictures_without_texture() -> None:
    even = torch.full((3, 32, 32), 0.5)
    assert abs(texture_correlation(even, TEXTURE[:, :32, :32])) < 0.1
    assert texture_ratio(even, TEXTURE[:, :32, :32]) < 1e-6
