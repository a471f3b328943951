"""Conversion of sRGB pictures to linear camera RGB."""

from typing import Any

import torch
from torch import Tensor

from twostagealign.isp.camera import Camera


def invert_tone_curve(image: Tensor) -> Tensor:
    """Undo the global tone curve 3x^2 - 2x^3.

    Args:
        image: tone-mapped picture, any shape; clamped to [0, 1].

    Returns:
        0.5 - sin(asin(1 - 2x) / 3), in [0, 1]. Its gradient, infinite at 0 and at 1, is bounded.

    Source:
        Brooks et al., CVPR 2019, section "Tone mapping".
    """
    return _InverseToneCurve.apply(image)


class _InverseToneCurve(torch.autograd.Function):
    """Inverse tone curve with a gradient that stays finite at black and white."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        # In place on one temporary: this runs on whole bursts in every training step.
        curve = image.clamp(0, 1).mul_(2).sub_(1).asin_().div_(3).sin_().add_(0.5).clamp_(0, 1)
        ctx.save_for_backward(image, curve)
        return curve

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        image, curve = ctx.saved_tensors
        # y = f(x) with x = 3y^2 - 2y^3 has the slope 1 / (6 y (1 - y)).
        slope = 1 / (6 * curve * (1 - curve)).clamp_min(1e-3)
        return torch.where((image < 0) | (image > 1), 0, gradient * slope)


def expand_gamma(image: Tensor) -> Tensor:
    """Undo the gamma compression.

    Args:
        image: gamma-compressed picture, any shape, in [0, 1].

    Returns:
        max(x, 1e-8) ** 2.2, linear.
    """
    return image.clamp_min(1e-8) ** 2.2


def apply_matrix(image: Tensor, matrix: Tensor) -> Tensor:
    """Multiply the colours of every pixel by the matrix of its burst.

    Args:
        image: (B, ..., 3, H, W).
        matrix: (B, 3, 3), or (1, 3, 3) for all bursts.

    Returns:
        (B, ..., 3, H, W).

    Raises:
        ValueError: the image does not have the shape above.
    """
    # Products and sums of whole channels are about as fast as matmul, and keep full precision under TF32 and autocast.
    columns = [per_burst(column, image).unbind(-3) for column in matrix.unbind(-1)]
    red, green, blue = image.unbind(-3)
    channels = [(r * red).addcmul_(g, green).addcmul_(b, blue) for r, g, b in zip(*columns, strict=True)]
    return torch.stack(channels, dim=-3)


def invert_gains(image: Tensor, camera: Camera) -> Tensor:
    """Undo white balance and brightness gain, except in highlights, and clamp to [0, 1].

    Dividing a saturated pixel by the gains would give a colour that no sensor records. Pixels brighter than 0.9 are
    therefore scaled less, weighted by a smooth mask.

    Args:
        image: linear camera RGB after white balance, (B, ..., 3, H, W).
        camera: metadata of B bursts, or of one for all.

    Returns:
        Linear camera RGB before white balance, (B, ..., 3, H, W), in [0, 1].

    Raises:
        ValueError: the image does not have the shape above.

    Source:
        Brooks et al., CVPR 2019, section "White balance".
    """
    ones = torch.ones_like(camera.red_gain)
    gains = torch.stack((1 / camera.red_gain, ones, 1 / camera.blue_gain), dim=-1) / camera.rgb_gain[:, None]
    gains = per_burst(gains, image)
    mask = (image.mean(dim=-3, keepdim=True) - 0.9).clamp_min(0).div(0.1).square()
    # Equals max(mask + (1 - mask) * gains, gains), because mask >= 0.
    scale = torch.addcmul(gains, mask, (1 - gains).clamp_min(0))
    return (image * scale).clamp(0, 1)


def unprocess(srgb: Tensor, camera: Camera) -> Tensor:
    """Convert sRGB pictures to the linear camera RGB that the camera would have recorded.

    Args:
        srgb: (B, ..., 3, H, W), R, G, B in [0, 1].
        camera: metadata of B bursts, or of one for all.

    Returns:
        Linear camera RGB before white balance, (B, ..., 3, H, W), in [0, 1].

    Raises:
        ValueError: `srgb` does not have the shape above.

    Source:
        Brooks et al., CVPR 2019, section 3.

    Example:
        >>> from twostagealign.isp import protocol_camera
        >>> grey = torch.full((1, 3, 2, 2), 0.5)
        >>> unprocess(grey, protocol_camera())[0, :, 0, 0]
        tensor([0.1088, 0.2176, 0.1280])
    """
    return invert_gains(apply_matrix(expand_gamma(invert_tone_curve(srgb)), camera.rgb2cam), camera)


def per_burst(values: Tensor, image: Tensor) -> Tensor:
    """Reshape three numbers per burst so that they broadcast over its frames and pixels.

    Args:
        values: (B, 3), or (1, 3) for all bursts.
        image: (B, ..., 3, H, W).

    Returns:
        (B, 1, ..., 3, 1, 1), with the image's device and dtype.

    Raises:
        ValueError: the image does not have the shape above.
    """
    if image.ndim < 4 or image.shape[-3] != 3 or len(values) not in (1, len(image)):
        bursts = "B" if len(values) == 1 else len(values)
        raise ValueError(f"image: found shape {tuple(image.shape)}, expected ({bursts}, ..., 3, height, width)")
    return values.to(image).reshape(len(values), *(1,) * (image.ndim - 4), 3, 1, 1)
