import cv2
import numpy as np
import pytest
import torch

from twostagealign.data import degrade_by_protocol
from twostagealign.engine import evaluation
from twostagealign.engine.evaluation import Quality, develop, measure, picture, validate
from twostagealign.engine.tiling import RestoredFrame, Tiling
from twostagealign.isp import PROTOCOL_LEVELS, Camera, demosaic, process, protocol_camera, random_camera, tone_curve
from twostagealign.metrics import psnr, ssim


@pytest.fixture
def bursts():
    """Three bursts of clean frames, smooth enough to tell a picture from noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3 * 3, 3, 6, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(24, 28), mode="bilinear")
    return list(smooth.mul(255).byte().unflatten(0, (3, 3)))


@pytest.fixture
def seen(monkeypatch):
    """Restoration that returns the truth a little darker; keeps what it was given."""
    calls = []

    def restore_frame(restorer, lq, noise_map, tiling):
        calls.append((lq, noise_map, tiling))
        return RestoredFrame(0.9 * truths[len(calls) - 1], torch.zeros(1, 2), torch.zeros(1, 1, 2), {})

    truths = []
    monkeypatch.setattr(evaluation, "restore_frame", restore_frame)
    return calls, truths


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


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


def test_validation_follows_the_test_protocol(tmp_path, make_restorer, bursts, seen) -> None:
    calls, truths = seen
    noise, tiling = PROTOCOL_LEVELS["low"], Tiling(16, 4, 16)
    expected = [degrade_by_protocol(frames, *noise, [1, 2, 3]) for frames in bursts]
    truths += [burst.target[0] for burst in expected]
    found = validate(make_restorer(), bursts, noise, tiling, tmp_path / "new", 2)
    assert len(found) == len(calls) == 3
    for quality, burst, (lq, noise_map, used) in zip(found, expected, calls, strict=True):
        assert torch.equal(lq, burst.lq[0])
        assert torch.equal(noise_map, burst.noise_map[0])
        assert used == tiling
        target = develop(burst.target[0], protocol_camera())
        assert quality == measure(develop(0.9 * burst.target[0], protocol_camera()), target)
        assert 20 < quality.psnr < 40


def test_validation_shows_noisy_restored_and_true_side_by_side(tmp_path, make_restorer, bursts, seen) -> None:
    noise = PROTOCOL_LEVELS["high"]
    expected = [degrade_by_protocol(frames, *noise, [1, 2, 3]) for frames in bursts]
    seen[1].extend(burst.target[0] for burst in expected)
    folder = tmp_path / "new" / "1000"
    validate(make_restorer(), bursts, noise, Tiling(16, 4, 16), folder, 2)
    assert sorted(path.name for path in folder.iterdir()) == ["000.png", "001.png"]
    for index in range(2):
        views = np.split(read(folder / f"{index:03d}.png"), 3, axis=1)
        truth = expected[index].target[0]
        linear = (demosaic(expected[index].lq[0, 1]), 0.9 * truth, truth)
        for view, image in zip(views, linear, strict=True):
            srgb = tone_curve(process(image[None], protocol_camera())[0])
            np.testing.assert_allclose(view, 255 * srgb.permute(1, 2, 0), atol=0.51)


def test_validation_without_pictures_writes_nothing(tmp_path, make_restorer, bursts) -> None:
    """With the network itself: twice the same numbers, and the restorer stays as it is."""
    restorer = make_restorer()
    results = [
        validate(restorer, bursts[:1], PROTOCOL_LEVELS["high"], Tiling(16, 4, 16), tmp_path / "new", 0)
        for _ in range(2)
    ]
    assert results[0] == results[1]
    assert list(tmp_path.iterdir()) == []
    for name, tensor in make_restorer().state_dict().items():
        assert torch.equal(restorer.state_dict()[name], tensor)
