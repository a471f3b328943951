"""Rendering of pictures that are looked at."""

import pytest
import torch
from torch import Tensor

from twostagealign.isp import (
    Camera,
    automatic_stops,
    fade_highlights,
    process,
    protocol_camera,
    random_camera,
    render,
    tone_curve,
    unprocess,
)

TONES = ("none", "curve", "paper")


def camera(red: float, blue: float, gain: float = 1.0) -> Camera:
    matrix = protocol_camera().rgb2cam
    return Camera(matrix, *(torch.tensor([value]) for value in (red, blue, gain)))


@pytest.fixture
def linear() -> Tensor:
    """Linear camera RGB of a random picture, none of it close to saturation."""
    picture = torch.rand(1, 3, 8, 9, generator=torch.Generator().manual_seed(0)) * 0.8
    return unprocess(picture, protocol_camera())[0]


def test_the_paper_s_tone_is_that_of_the_measured_pictures(linear: Tensor) -> None:
    expected = tone_curve(process(linear[None], protocol_camera()))[0]
    assert torch.equal(render(linear, protocol_camera(), tone="paper"), expected)


def test_without_a_tone_curve_the_picture_is_srgb() -> None:
    """Values of a grey ramp, as IEC 61966-2-1 encodes them."""
    grey = torch.tensor([0.0, 0.0018211, 0.0212190, 0.2158605, 0.7991027])
    neutral = 1 / torch.tensor([2.0, 1.0, 1.7])
    ramp = neutral[:, None, None] * grey[None, None]
    expected = torch.tensor([0, 6, 40, 128, 231]) / 255
    assert torch.allclose(render(ramp, protocol_camera(), tone="none"), expected.expand(3, 1, 5), atol=1e-4)


@pytest.mark.parametrize("tone", TONES)
@pytest.mark.parametrize(("red", "blue"), [(2.0, 1.7), (0.8, 1.9), (1.6, 0.6)])
def test_clipped_areas_are_white(tone: str, red: float, blue: float) -> None:
    """As a network restores them: not all channels reach the white level, some go beyond it."""
    clipped = torch.tensor([[1.0, 0.985, 0.97], [0.985, 1.02, 0.975], [0.99, 0.98, 1.0]])[:, None]
    for stops in (0.0, 1.5):
        found = render(fade_highlights(clipped, camera(red, blue)), camera(red, blue), stops, tone)
        assert torch.allclose(found, torch.ones(3, 1, 3), atol=1e-3)


def test_darkened_clipped_areas_are_neutral() -> None:
    grey = render(torch.ones(3, 1, 1), camera(0.7, 1.9), stops=-1.0, tone="none").flatten()
    assert grey.max() - grey.min() < 1e-5
    assert 0.7 < grey.mean() < 0.75


def test_only_highlights_fade(linear: Tensor) -> None:
    coloured = torch.tensor([0.9, 0.2, 0.1])[:, None, None]  # a red lamp, close to saturation in one channel
    for picture in (linear, coloured):
        assert torch.equal(fade_highlights(picture, protocol_camera()), picture)


def test_faded_highlights_are_neutral_after_white_balance() -> None:
    """A raw converter clips the balanced channels at the level where the first one is clipped."""
    for red, blue in ((2.0, 1.7), (0.8, 1.9)):
        gains = torch.tensor([red, 1.0, blue])
        faded = fade_highlights(torch.tensor([0.99, 0.97, 0.98])[:, None, None], camera(red, blue)).flatten()
        balanced = (faded * gains / gains.min()).clamp_max(1)
        assert torch.allclose(balanced, torch.ones(3), atol=1e-3)


def test_a_stop_doubles_linear_brightness(linear: Tensor) -> None:
    brighter = render(linear / 2, protocol_camera(), stops=1.0, tone="none")
    assert torch.allclose(brighter, render(linear, protocol_camera(), tone="none"), atol=1e-5)
    by_camera = render(linear / 2, camera(2.0, 1.7, gain=2.0), tone="none")
    assert torch.allclose(by_camera, brighter, atol=1e-5)


def test_the_curve_keeps_order_and_detail_in_highlights_and_shadows() -> None:
    """With a brightness of two stops, where plain sRGB has clipped most of the range."""
    neutral = 1 / torch.tensor([2.0, 1.0, 1.7])
    ramp = neutral[:, None, None] * torch.linspace(0, 0.9, 256)[None, None]
    plain, curve, paper = (render(ramp, protocol_camera(), 2.0, tone)[1, 0] for tone in TONES)
    assert (curve.diff() > 0).all()
    assert (plain > 0.9999).sum() > 150
    shadow = slice(1, 4)
    assert (curve[shadow] > paper[shadow]).all()
    assert (curve[shadow] > 0.5 * plain[shadow]).all()


@pytest.mark.parametrize("exposure", [1.0, 0.25])
def test_automatic_brightness_makes_exposures_alike(exposure: float) -> None:
    generator = torch.Generator().manual_seed(1)
    colours = random_camera(1, generator)
    scene = 0.02 + 0.2 * torch.rand(3, 64, 64, generator=generator)
    noisy = exposure * scene + 0.01 * torch.randn(3, 64, 64, generator=generator)
    stops = automatic_stops(noisy, colours)
    assert stops + torch.log2(torch.tensor(exposure)) == pytest.approx(automatic_stops(scene, colours), abs=0.1)


def test_automatic_brightness_never_darkens_and_has_a_limit() -> None:
    assert automatic_stops(torch.ones(3, 16, 16), protocol_camera()) == 0
    assert automatic_stops(torch.zeros(3, 2, 3), protocol_camera()) <= 4
