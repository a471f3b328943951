import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twostagealign.data import Burst, RawFrame, bundled_picture
from twostagealign.isp import mosaic, noise_map, protocol_camera
from twostagealign.studies.burst_averaging import block_matched_average

SHOT, READ = 2.5e-3, 1e-2


def scene(name: str = "motorcycle_left") -> Tensor:
    """Clean raw planes of a photograph, (4, 200, 300)."""
    rgb = torch.from_numpy(bundled_picture(name)[:400, :600].astype(np.float32) / 255).permute(2, 0, 1)
    return mosaic(0.2 + 0.6 * rgb)


def make_burst(clean: Tensor, noisy: bool = True, seed: int = 0) -> Burst:
    """A burst of clean frames (N, 4, H, W), with noise or with a noise map only."""
    deviation = noise_map(clean[None], SHOT, READ)
    noise = deviation * torch.randn(deviation.shape, generator=torch.Generator().manual_seed(seed))
    frames = zip((clean[None] + noise if noisy else clean[None].clone())[0], deviation[0], strict=True)
    return Burst([RawFrame(*planes) for planes in frames], protocol_camera())


@settings(max_examples=15, deadline=None)
@given(frames=st.integers(1, 6), height=st.integers(1, 70), width=st.integers(1, 70), window=st.sampled_from([16, 48]))
def test_a_clean_burst_that_rests_stays_as_it_is(frames: int, height: int, width: int, window: int) -> None:
    clean = scene()[:, 40 : 40 + height, 90 : 90 + width].expand(frames, -1, -1, -1)
    found, deviation = block_matched_average(make_burst(clean, noisy=False), window).stack()
    assert found.shape == deviation.shape == (1, 4, height, width)
    torch.testing.assert_close(found[0], clean[0], atol=2e-6, rtol=0)


def test_one_frame_keeps_its_noise() -> None:
    burst = make_burst(scene()[None, :, :64, :80])
    found, deviation = block_matched_average(burst).stack()
    torch.testing.assert_close(found, burst.stack()[0], atol=2e-6, rtol=0)
    torch.testing.assert_close(deviation, burst.stack()[1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("frames", [2, 5, 9])
def test_noise_falls_nearly_with_the_root_of_the_number_of_frames(frames: int) -> None:
    clean = scene().expand(frames, -1, -1, -1)
    burst = make_burst(clean)
    found, deviation = block_matched_average(burst).stack()
    left = (found[0] - clean[0]) / burst.reference.noise
    assert frames**-0.5 <= left.std() < 1.06 * frames**-0.5
    assert abs(left.mean()) < 0.01
    # And the result says so.
    told = deviation[0] / burst.reference.noise
    assert told.square().mean().sqrt() == pytest.approx(float(left.std()), rel=0.06)


def noise_left(shifts: list[tuple[int, int]], search_window: int = 48) -> float:
    """Noise in the middle of the result in units of the reference frame's, for a scene that is shifted like that."""
    whole, crop, inner = scene(), (slice(None), slice(25, 175), slice(45, 255)), (..., slice(54, -54), slice(73, -73))
    burst = make_burst(torch.stack([torch.roll(whole, shift, (1, 2))[crop] for shift in shifts]))
    error = block_matched_average(burst, search_window).reference.raw() - whole[crop]
    return float((error / burst.reference.noise)[inner].std())


def test_a_known_shift_is_found() -> None:
    """Shifts of whole raw pixels that are no multiples of what the coarse search sees, 41 raw pixels in the end."""
    at_rest = noise_left([(0, 0)] * 5)
    assert at_rest < 0.5
    assert noise_left([(-22, 41), (-13, 23), (0, 0), (11, -19), (21, -38)]) == pytest.approx(at_rest, rel=0.05)


def test_a_shift_is_found_within_the_search_window_only() -> None:
    assert noise_left([(0, 24), (0, 0)], 48) < 0.75
    assert noise_left([(0, 24), (0, 0)], 16) > 0.8


def test_a_foreign_frame_is_not_blended_in() -> None:
    """One of three frames shows something else: the result is nearly the average of the other two."""
    own, foreign = scene()[:, :128, :128], scene("astronaut")[:, :128, :128]
    burst = make_burst(torch.stack([foreign, own, own]))
    error = block_matched_average(burst).reference.raw() - own
    assert (error / burst.reference.noise).std() < 1.05 * 2**-0.5  # 1.9 times that if it were trusted wholly


def test_tiles_leave_no_seams() -> None:
    """Where two frames differ by a large smooth gradient, so that tiles trust them unequally, the result is smooth."""
    ramp = torch.linspace(0.3, 0.5, 96).expand(4, 96, 96)
    clean = torch.stack([ramp + 0.2 * ramp.mT, ramp])
    found = block_matched_average(make_burst(clean, noisy=False)).reference.raw()
    assert (found.diff(n=2, dim=-1)).abs().max() < 2e-3
    assert (found.diff(n=2, dim=-2)).abs().max() < 2e-3


def test_dtype_and_the_given_burst_are_kept() -> None:
    burst = make_burst(scene()[None, :, :40, :40].expand(3, -1, -1, -1).double())
    before = burst.stack()[0].clone()
    found = block_matched_average(burst)
    assert found.reference.planes.dtype == found.reference.noise.dtype == torch.float64
    assert torch.equal(burst.stack()[0], before)
    assert found.camera is burst.camera
