from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.metrics import ssim

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    golden = np.load(DATA / "metrics.npz")
    image, target = (torch.from_numpy(golden[name]).permute(2, 0, 1) for name in ("image1", "image2"))
    return image, target


def test_agrees_with_reference_number(images):
    expected = float(np.load(DATA / "metrics.npz")["ssim"])
    assert ssim(*images, data_range=255) == pytest.approx(expected, abs=1e-6)
    assert ssim(images[0] / 255, images[1] / 255) == pytest.approx(expected, abs=1e-6)


def test_agrees_with_the_formula_of_wang(images):
    taps = torch.exp(-(torch.arange(-5, 6, dtype=torch.float64) ** 2) / (2 * 1.5**2))
    window = torch.outer(taps, taps)[None, None] / taps.sum() ** 2

    def local_mean(x: Tensor) -> Tensor:
        return F.conv2d(x, window)  # the border of half a window is left out of the average

    x, y = (image.double()[:, None] for image in images)
    mx, my = local_mean(x), local_mean(y)
    vx, vy, cov = local_mean(x * x) - mx * mx, local_mean(y * y) - my * my, local_mean(x * y) - mx * my
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    assert ssim(*images, data_range=255) == pytest.approx(similarity.mean().item(), abs=1e-9)


def test_equal_images(images):
    assert ssim(images[0], images[0], data_range=255) == pytest.approx(1)


@pytest.mark.parametrize(
    ("shape", "other", "message"),
    [
        ((3, 16, 16), (3, 16, 17), "target: found shape (3, 16, 17), expected (3, 16, 16)"),
        ((16, 16, 3), (16, 16, 3), "image: found shape (16, 16, 3), expected (3, height, width)"),
        ((3, 10, 16), (3, 10, 16), "image: found 10 x 16 pixels, expected at least 11 x 11"),
    ],
)
def test_wrong_shapes_are_named(shape, other, message):
    with pytest.raises(ValueError, match="expected") as error:
        ssim(torch.zeros(shape), torch.zeros(other))
    assert str(error.value) == message
