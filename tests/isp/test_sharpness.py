import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from twostagealign.data import PROTOCOL_NOISE, bundled_picture
from twostagealign.isp import Sharpness, add_noise, mosaic, noise_map, protocol_camera, unprocess

NOISE = PROTOCOL_NOISE["high"]


def raw(picture: np.ndarray, exposure: float = 1.0, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noisy raw planes of a picture, and their noise."""
    srgb = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    clean = mosaic(unprocess(srgb, protocol_camera())) * exposure
    noisy = add_noise(clean.clamp(0, 1), NOISE.shot, NOISE.read, torch.Generator().manual_seed(seed))
    return noisy[0], noise_map(noisy, NOISE.shot, NOISE.read)[0]


def sharpness(planes: Tensor, noise: Tensor, rows: int = 10**6) -> float:
    """Sharpness of a frame, looked at in bands of so many rows."""
    found = Sharpness()
    for band in zip(planes.split(rows, dim=1), noise.split(rows, dim=1), strict=True):
        found.add(*band)
    return found.value


def test_blur_is_seen_through_noise() -> None:
    cat = bundled_picture("chelsea")[:200, :300]
    pictures = [cat, *(cv2.GaussianBlur(cat, (0, 0), sigma) for sigma in (0.7, 1.0, 1.5, 3.0))]
    found = [sharpness(*raw(picture, seed=number)) for number, picture in enumerate(pictures)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 0.8 * found[0]


def test_a_frame_without_detail_shows_its_noise_only() -> None:
    assert sharpness(*raw(np.full((200, 300, 3), 120, np.uint8))) == pytest.approx(1, abs=0.03)


def test_clipped_samples_do_not_count() -> None:
    planes, noise = torch.full((4, 20, 20), 0.3), torch.full((4, 20, 20), 0.01)
    planes[:, 5:9] = 1.0  # a lamp, whose border would be a strong gradient
    assert sharpness(planes, noise) == 0
    assert sharpness(torch.ones(4, 20, 20), noise) == 0


@pytest.mark.parametrize("rows", [1, 7, 50])
def test_bands_make_no_difference(rows: int) -> None:
    frame = raw(bundled_picture("chelsea")[:200, :300])
    assert sharpness(*frame, rows) == pytest.approx(sharpness(*frame), rel=1e-6)


def test_pairs_are_compared_once() -> None:
    """Squares of differences, times 100: 1, 4; 4, 9; and 0, 1, 4 from row to row."""
    planes = torch.tensor([[0.0, 1.0, 3.0], [0.0, 2.0, 5.0]]).div(10).expand(4, 2, 3)
    variance = 2 * 0.1**2 / 4  # of a difference of two means of four planes
    assert sharpness(planes, torch.full((4, 2, 3), 0.1)) == pytest.approx(0.23 / 7 / variance)
