"""Conversion of linear camera RGB to sRGB."""

import torch
from torch import Tensor

from twostagealign.isp.camera import Camera
from twostagealign.isp.unprocess import apply_matrix, per_burst


def apply_gains(image: Tensor, camera: Camera, with_rgb_gain: bool) -> Tensor:
    """White-balance linear camera RGB.

    Args:
        image: linear camera RGB before white balance, (B, ..., 3, H, W).
        camera: metadata of B bursts, or of one for all.
        with_rgb_gain: whether to apply the overall brightness gain too.

    Returns:
        White-balanced camera RGB, (B, ..., 3, H, W), not clamped.

    Raises:
        ValueError: the image does not have the shape above.
    """
    gains = torch.stack((camera.red_gain, torch.ones_like(camera.red_gain), camera.blue_gain), dim=-1)
    if with_rgb_gain:
        gains = gains * camera.rgb_gain[:, None]
    return image * per_burst(gains, image)


def compress_gamma(image: Tensor, offset: float = 0.0) -> Tensor:
    """Apply the gamma compression of exponent 1 / 2.2.

    Args:
        image: linear picture, any shape, in [0, 1].
        offset: 0 for max(x, 1e-8) ** (1 / 2.2), whose gradient is large in the darkest pixels. A positive number for
            (x + offset) ** (1 / 2.2), which bounds the gradient.

    Returns:
        Gamma-compressed picture.
    """
    # 1e-8 rounds to 0 in half precision, where the gradient is infinite. Use its smallest number instead.
    precision = torch.finfo(image.dtype)
    floor = max(1e-8, precision.tiny * precision.eps)
    return (image + offset if offset else image.clamp_min(floor)) ** (1 / 2.2)


def tone_curve(image: Tensor) -> Tensor:
    """Apply the global tone curve 3x^2 - 2x^3, for pictures that are looked at.

    Args:
        image: gamma-compressed picture, any shape, in [0, 1].

    Returns:
        Tone-mapped picture in [0, 1].

    Example:
        >>> tone_curve(torch.tensor([0.0, 0.25, 1.0]))
        tensor([0.0000, 0.1562, 1.0000])
    """
    return image.square() * (3 - 2 * image)


def process(linear: Tensor, camera: Camera, with_rgb_gain: bool = True, gamma_offset: float = 0.0) -> Tensor:
    """Convert linear camera RGB to the sRGB of losses and metrics, without the tone curve.

    Args:
        linear: linear camera RGB before white balance, (B, ..., 3, H, W).
        camera: metadata of B bursts, or of one for all.
        with_rgb_gain: whether to apply the overall brightness gain: True in tests, False in the training loss.
        gamma_offset: see `compress_gamma`.

    Returns:
        sRGB, (B, ..., 3, H, W), in [0, 1].

    Raises:
        ValueError: `linear` does not have the shape above.

    Example:
        >>> from twostagealign.isp import protocol_camera
        >>> white = 1 / torch.tensor([2.0, 1.0, 1.7]).reshape(1, 3, 1, 1)  # as recorded by the sensor
        >>> process(white, protocol_camera()).flatten()
        tensor([1., 1., 1.])
    """
    balanced = apply_gains(linear, camera, with_rgb_gain).clamp(0, 1)
    srgb = apply_matrix(balanced, camera.cam2rgb).clamp(0, 1)
    return compress_gamma(srgb, gamma_offset)
