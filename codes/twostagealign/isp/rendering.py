"""Rendering of linear camera RGB as a picture that is looked at: neutral highlights, brightness, tone, sRGB."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.isp.camera import Camera
from twostagealign.isp.process import compress_gamma, tone_curve
from twostagealign.isp.unprocess import apply_matrix

Tone = Literal["none", "curve", "paper"]

_CONTRAST = 0.4  # share of the paper's tone curve in the tone "curve"
_FADE = (0.9, 0.97)  # white-balanced level of the darkest channel where highlights begin and end to fade to white
_KEY = 0.15  # mean brightness that automatic brightness aims at
_SHOULDER = 0.2  # linear brightness where highlights begin to roll off
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of linear sRGB
_DARKEST = 1e-4  # luminance that counts for anything darker, so that black borders do not dominate a mean of logarithms
_MOST_STOPS = 4.0  # that automatic brightness adds
_BLOCK = 8  # side of the blocks that automatic brightness looks at, pixels


def fade_highlights(linear: Tensor, camera: Camera) -> Tensor:
    """Make clipped areas neutral. Other areas stay as they are.

    A network does not restore all channels of a clipped area to exactly the same level. Where all channels, white
    balanced, are close to saturation, they are raised to the level at which a raw converter clips all three.

    Args:
        linear: linear camera RGB before white balance, (3, h, w); 1 is the white level.
        camera: colour metadata, a batch of one.

    Returns:
        Linear camera RGB, (3, h, w).
    """
    ceiling = 1 / _relative_gains(camera).to(linear)
    balanced = (linear / ceiling).clamp_max(1)
    begin, end = _FADE
    share = ((balanced.amin(dim=0) - begin) / (end - begin)).clamp(0, 1)
    return torch.maximum(linear, ceiling * (balanced + share * (1 - balanced)))


def render(linear: Tensor, camera: Camera, stops: float = 0.0, tone: Tone = "curve") -> Tensor:
    """Render linear camera RGB as sRGB.

    Args:
        linear: linear camera RGB before white balance, (3, h, w); 1 is the white level.
        camera: colour metadata, a batch of one; its brightness gain is applied, too.
        stops: exposure correction, EV.
        tone: "none": sRGB as IEC 61966-2-1 encodes it; brightness beyond white is clipped. "curve": brightness beyond
            white rolls off, and contrast rises a little, without loss in the shadows. "paper": gamma 1 / 2.2 and the
            curve 3x^2 - 2x^3 of the paper's pictures, which hides noise in the shadows, and their detail.

    Returns:
        sRGB, (3, h, w), in [0, 1]. Where all three channels of the sensor are saturated, it is neutral.

    Example:
        >>> from twostagealign.isp import protocol_camera
        >>> clipped = torch.ones(3, 1, 1)
        >>> render(clipped, protocol_camera(), stops=2.0).flatten().round(decimals=3)
        tensor([1., 1., 1.])
    """
    colours = _balanced_srgb(linear, camera).clamp(0, 1)
    gain = camera.rgb_gain.item() * 2.0**stops
    if tone == "paper":
        return tone_curve(compress_gamma((colours * gain).clamp(0, 1)))
    if tone == "none":
        return _encode_srgb((colours * gain).clamp(0, 1))
    encoded = _encode_srgb(_roll_off(colours * gain, max(gain, 1.0)))
    return torch.lerp(encoded, tone_curve(encoded), _CONTRAST)


def automatic_stops(linear: Tensor, camera: Camera) -> float:
    """Find the exposure correction that gives a picture a medium brightness.

    Args:
        linear: linear camera RGB before white balance, (3, h, w); 1 is the white level. It may be noisy.
        camera: colour metadata, a batch of one.

    Returns:
        Exposure correction, EV, for `render`: 0 to 4. The mean is that of the logarithm of luminance. Bright pictures
        are not darkened, since clipped areas would turn grey.
    """
    small = F.avg_pool2d(linear[None], [min(_BLOCK, side) for side in linear.shape[-2:]])[0]
    luminance = torch.einsum("c,chw->hw", small.new_tensor(_LUMINANCE), _balanced_srgb(small, camera))
    mean = luminance.clamp_min(_DARKEST).log2().mean().item()
    wanted = math.log2(_KEY) - mean - math.log2(camera.rgb_gain.item())
    return min(max(wanted, 0.0), _MOST_STOPS)


def _relative_gains(camera: Camera) -> Tensor:
    """White-balance gains over the smallest one, (3, 1, 1): raw converters clip all channels where the first clips."""
    gains = torch.stack((camera.red_gain, torch.ones_like(camera.red_gain), camera.blue_gain), dim=-1)[0]
    return (gains / gains.min())[:, None, None]


def _balanced_srgb(linear: Tensor, camera: Camera) -> Tensor:
    """White-balanced linear sRGB, (3, h, w), not clamped; saturated samples are white."""
    balanced = (linear * _relative_gains(camera).to(linear)).clamp(0, 1)
    return apply_matrix(balanced[None], camera.cam2rgb.to(linear))[0]


def _roll_off(linear: Tensor, white: float) -> Tensor:
    """Compress [0, white] to [0, 1]: the identity below `_SHOULDER`, smoothly flatter above, up to `white`, at least 1.

    Source: Reinhard et al., "Photographic Tone Reproduction for Digital Images", SIGGRAPH 2002, equation 4, which is
    applied to the part above the shoulder.
    """
    above = ((linear - _SHOULDER) / (1 - _SHOULDER)).clamp_min(0)
    end = (white - _SHOULDER) / (1 - _SHOULDER)
    compressed = above * (1 + above / end**2) / (1 + above)
    return torch.where(linear < _SHOULDER, linear, _SHOULDER + (1 - _SHOULDER) * compressed).clamp(0, 1)


def _encode_srgb(linear: Tensor) -> Tensor:
    """Encode linear sRGB in [0, 1]. Source: IEC 61966-2-1."""
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp_min(1e-8) ** (1 / 2.4) - 0.055)
