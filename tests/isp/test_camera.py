from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.isp import Camera, protocol_camera, random_camera

DATA = Path(__file__).parents[1] / "data"


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_protocol_camera_agrees_with_reference_numbers():
    golden = np.load(DATA / "isp.npz")
    camera = protocol_camera(batch=2)
    for i in range(2):
        np.testing.assert_allclose(camera.rgb2cam[i].numpy(), golden["rgb2cam"], atol=1e-6)
        np.testing.assert_allclose(camera.cam2rgb[i].numpy(), golden["cam2rgb"], atol=1e-5)
    assert camera.red_gain.tolist() == [2.0, 2.0]
    assert camera.blue_gain.tolist() == pytest.approx([1.7, 1.7])
    assert camera.rgb_gain.tolist() == [1.0, 1.0]


def test_random_camera_follows_its_distributions():
    camera = random_camera(4000, generator())
    for gain, low, high in ((camera.red_gain, 1.9, 2.4), (camera.blue_gain, 1.5, 1.9)):
        assert gain.min() >= low - 1e-6
        assert gain.max() <= high + 1e-6
        assert gain.mean().item() == pytest.approx((low + high) / 2, abs=0.01)
        assert gain.std().item() == pytest.approx((high - low) / 12**0.5, rel=0.05)
    assert (1 / camera.rgb_gain).mean().item() == pytest.approx(0.8, abs=0.01)
    assert (1 / camera.rgb_gain).std().item() == pytest.approx(0.1, rel=0.05)
    torch.testing.assert_close(camera.rgb2cam.sum(dim=-1), torch.ones(4000, 3))
    assert (camera.rgb2cam.std(dim=0) > 1e-3).all()  # a matrix of its own for every burst


def test_random_camera_is_reproducible():
    first, same, other = random_camera(3, generator(1)), random_camera(3, generator(1)), random_camera(3, generator(2))
    for name in ("rgb2cam", "red_gain", "blue_gain", "rgb_gain"):
        assert torch.equal(getattr(first, name), getattr(same, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_cam2rgb_is_the_inverse(dtype):
    camera = random_camera(5, generator()).to(dtype=dtype)
    assert camera.cam2rgb.dtype == dtype
    product = camera.rgb2cam.double() @ camera.cam2rgb.double()
    torch.testing.assert_close(
        product, torch.eye(3, dtype=torch.float64).expand(5, 3, 3), rtol=0, atol=torch.finfo(dtype).eps * 8
    )


@pytest.mark.parametrize(
    ("index", "picked"),
    [
        (2, [2]),
        (-1, [3]),
        (slice(1, 3), [1, 2]),
        (torch.tensor([3, 0]), [3, 0]),
        (torch.tensor([True, False, False, True]), [0, 3]),
    ],
)
def test_indexing_keeps_the_batch_axis(index, picked):
    camera = random_camera(4, generator())
    part = camera[index]
    assert isinstance(part, Camera)
    assert len(part) == len(picked)
    assert torch.equal(part.rgb2cam, camera.rgb2cam[picked])
    assert torch.equal(part.red_gain, camera.red_gain[picked])
    assert torch.equal(part.blue_gain, camera.blue_gain[picked])
    assert torch.equal(part.rgb_gain, camera.rgb_gain[picked])


def test_iteration_gives_every_burst_once():
    camera = random_camera(3, generator())
    assert [part.red_gain.item() for part in camera] == camera.red_gain.tolist()
