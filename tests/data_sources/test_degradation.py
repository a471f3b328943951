from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.data import PROTOCOL_NOISE, degrade, degrade_by_protocol
from twostagealign.data.burst import BAND, Burst, NoiseLevel, RawFrame
from twostagealign.isp import mosaic, protocol_camera, unprocess

DATA = Path(__file__).parents[1] / "data"


def random_frames(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (*shape,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def assert_same(burst, expected) -> None:
    for name in ("lq", "noise_map", "target", "clean_raw"):
        assert torch.equal(getattr(burst, name), getattr(expected, name)), name
    for name in ("rgb2cam", "red_gain", "blue_gain", "rgb_gain"):
        assert torch.equal(getattr(burst.camera, name), getattr(expected.camera, name)), name


def levels(burst) -> torch.Tensor:
    """Shot noise and squared read noise of each burst, from its noise map: variance = shot * signal + read ** 2."""
    found = []
    for signal, deviation in zip(burst.lq.flatten(1).double(), burst.noise_map.flatten(1).double(), strict=True):
        design = torch.stack([signal, torch.ones_like(signal)], dim=1)
        solution = torch.linalg.lstsq(design, deviation.square()[:, None])
        torch.testing.assert_close(design @ solution.solution, deviation.square()[:, None], rtol=1e-4, atol=1e-9)
        found.append(solution.solution[:, 0])
    return torch.stack(found)


class TestTraining:
    @settings(deadline=None, max_examples=10)
    @given(batch=st.integers(1, 3), frames=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
    def test_a_burst_is_what_its_description_says(self, batch, frames, seed) -> None:
        clean = random_frames(batch, frames, 3, 12, 16)
        before = clean.clone()
        burst = degrade(clean, range(seed, seed + batch))
        assert torch.equal(clean, before)
        linear = unprocess(clean.float() / 255, burst.camera)
        torch.testing.assert_close(burst.target, linear[:, frames // 2], rtol=0, atol=1e-6)
        torch.testing.assert_close(burst.clean_raw, mosaic(linear), rtol=0, atol=1e-6)
        assert burst.lq.shape == burst.noise_map.shape == (batch, frames, 4, 6, 8)
        assert burst.lq.dtype == burst.noise_map.dtype == burst.target.dtype == torch.float32
        assert 0 <= burst.lq.min() <= burst.lq.max() <= 1
        assert len(burst.camera) == batch
        shot, variance = levels(burst).unbind(1)
        assert (shot >= 1e-4 * 0.99).all()
        assert (shot <= 1e-2 * 1.01).all()
        assert (variance >= 1e-6 * 0.9).all()
        assert (variance <= 10**-3 * 1.1).all()

    def test_the_seed_is_all_there_is_to_chance(self) -> None:
        clean = random_frames(2, 3, 3, 8, 8)
        burst = degrade(clean, [7, 8])
        torch.rand(3)  # the global generator is not used
        assert_same(degrade(clean, [7, 8]), burst)
        other = degrade(clean, [9, 10])
        assert not torch.equal(other.lq, burst.lq)
        assert not torch.equal(other.camera.red_gain, burst.camera.red_gain)
        assert not torch.allclose(levels(other), levels(burst), rtol=1e-3)

    def test_a_burst_does_not_depend_on_its_batch(self) -> None:
        clean = random_frames(3, 2, 3, 8, 8)
        batch = degrade(clean, [4, 5, 6])
        alone = degrade(clean[1:2], [5])
        assert torch.equal(alone.lq[0], batch.lq[1])
        assert torch.equal(alone.camera.rgb2cam[0], batch.camera.rgb2cam[1])

    def test_camera_and_noise_do_not_share_their_random_numbers(self) -> None:
        # Grey frames: the noise of the first values, normalised, against the numbers that follow the seed.
        seeds = range(200)
        burst = degrade(torch.full((200, 1, 3, 8, 8), 128, dtype=torch.uint8), seeds)
        noise = ((burst.lq - burst.clean_raw) / burst.noise_map).flatten(1)[:, :16]
        stream = torch.stack([torch.rand(16, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
        assert torch.corrcoef(torch.cat([noise, stream], dim=1).T)[:16, 16:].abs().max() < 0.4

    def test_every_burst_of_a_batch_has_a_camera_noise_level_and_noise_of_its_own(self) -> None:
        burst = degrade(random_frames(1, 3, 3, 16, 16).expand(2, -1, -1, -1, -1), [0, 1])
        for name in ("rgb2cam", "red_gain", "blue_gain", "rgb_gain"):
            first, second = getattr(burst.camera, name)
            assert not torch.equal(first, second)
        first, second = levels(burst)
        assert not torch.allclose(first, second, rtol=0.05)
        noise = (burst.lq - burst.clean_raw).flatten(1)
        assert torch.corrcoef(noise)[0, 1].abs() < 0.2
        frames = (burst.lq - burst.clean_raw)[0].flatten(1)
        assert (torch.corrcoef(frames) - torch.eye(3)).abs().max() < 0.3

    def test_the_noise_has_the_deviation_that_the_noise_map_says(self) -> None:
        burst = degrade(torch.full((8, 5, 3, 64, 64), 180, dtype=torch.uint8), range(8))
        shot, variance = levels(burst).float().reshape(8, 2, 1, 1, 1, 1).unbind(1)
        deviation = (shot * burst.clean_raw + variance).sqrt()
        normalised = ((burst.lq - burst.clean_raw) / deviation).flatten(1)
        assert normalised.mean(1).abs().max() < 0.02
        assert normalised.std(1).sub(1).abs().max() < 0.02


class TestProtocol:
    @pytest.mark.parametrize("level", PROTOCOL_NOISE)
    def test_noise_is_that_of_the_reference_numbers(self, level) -> None:
        """The same draws as there, scaled by the deviation that belongs to this picture."""
        noise = PROTOCOL_NOISE[level]
        picture = random_frames(3, 24, 32)
        clean = mosaic(unprocess(picture[None].float() / 255, protocol_camera())[0]).numpy()
        with np.load(DATA / "test_noise.npz") as golden:
            reference = golden["mosaic"]
            for seed in (2, 1):
                draws = golden[f"{level}/seed{seed}/noisy_unclipped"] - reference
                draws /= np.sqrt(noise.shot * reference + noise.read**2)
                expected = (clean + draws * np.sqrt(noise.shot * clean + noise.read**2)).clip(0, 1)
                raw, deviation = degrade_by_protocol(picture, noise, seed).read()
                np.testing.assert_allclose(raw, expected, rtol=0, atol=1e-4)
                np.testing.assert_allclose(deviation, (noise.shot * raw + noise.read**2).sqrt(), rtol=1e-5)

    def test_camera_and_ground_truth(self) -> None:
        picture = random_frames(3, 8, 12)
        before = picture.clone()
        frame = degrade_by_protocol(picture, PROTOCOL_NOISE["high"], 1)
        assert torch.equal(picture, before)
        assert torch.equal(frame.clean, before)
        assert frame.planes.shape == (4, 4, 6)
        linear = unprocess(picture[None].float() / 255, protocol_camera())[0]
        torch.testing.assert_close(Burst([frame], protocol_camera()).target(), linear, rtol=0, atol=1e-6)

    def test_a_picture_of_several_bands_is_degraded_as_a_whole(self) -> None:
        picture = random_frames(3, BAND + 6, 8)
        linear = unprocess(picture[None].float() / 255, protocol_camera())[0]
        frame = degrade_by_protocol(picture, NoiseLevel("none", 0.0, 0.0), 1)
        torch.testing.assert_close(frame.raw(), mosaic(linear), rtol=0, atol=1e-6)
        torch.testing.assert_close(Burst([frame], protocol_camera()).target(), linear, rtol=0, atol=1e-6)

    def test_the_truth_of_a_real_camera_is_not_known(self) -> None:
        burst = Burst([RawFrame(torch.zeros(4, 2, 2), PROTOCOL_NOISE["high"])], protocol_camera())
        assert not burst.has_target
        with pytest.raises(ValueError, match="not known"):
            burst.target()
