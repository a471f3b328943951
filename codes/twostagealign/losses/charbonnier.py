"""Charbonnier loss, a smooth L1."""

import torch
from torch import Tensor

_EPSILON = 1e-6


def charbonnier(prediction: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum the Charbonnier distance sqrt(d^2 + 1e-6) over all elements.

    Args:
        prediction: any shape.
        target: same shape.
        weight: factors of the differences d, same shape; None for 1 everywhere.

    Returns:
        Sum, a scalar; at least float32, because half precision overflows at 65504.

    Raises:
        ValueError: the shapes differ; broadcasting would hide mistakes.

    Source:
        Guo et al., CVPR 2022, training loss; Charbonnier et al., "Two deterministic half-quadratic regularization
        algorithms", ICIP 1994.

    Example:
        >>> charbonnier(torch.tensor([0.0, 3.0]), torch.tensor([4.0, 3.0]))
        tensor(4.0010)
    """
    for name, other in (("target", target), ("weight", weight)):
        if other is not None and other.shape != prediction.shape:
            raise ValueError(f"{name}: found shape {tuple(other.shape)}, expected {tuple(prediction.shape)}")
    dtype = torch.promote_types(prediction.dtype, torch.float32)
    difference = prediction.to(dtype) - target.to(dtype)
    if weight is not None:
        difference = difference * weight.to(dtype)
    return (difference.square() + _EPSILON).sqrt().sum()
