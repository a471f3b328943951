"""A metric."""

from torch import Tensor

from twostagealign.api.extending import METRICS


@METRICS.register
def mean_error(image: Tensor, target: Tensor) -> float:
    """Mean absolute difference of two pictures, sRGB (3, H, W) in [0, 1]."""
    return float((image - target).abs().mean())
