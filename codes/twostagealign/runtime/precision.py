"""Parts of a network that keep full precision where the rest is computed in a low one (autocast).

Layers that every value of the picture passes keep full precision: what such a layer rounds off is lost. Layers whose
output is added to features, or that estimate motion, weights and gates, may be computed in bfloat16 or float16. They
are most of the work.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.runtime.exporting import is_exporting


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context without autocast, except where there is none: on the meta device and in exports."""
    return nullcontext() if device.type == "meta" or is_exporting() else torch.autocast(device.type, enabled=False)


def dtype_of_products(x: Tensor) -> torch.dtype:
    """The dtype that convolutions and matrix products of a tensor are computed in: under autocast, its own or lower."""
    kind = x.device.type
    low = kind != "meta" and not is_exporting() and torch.is_autocast_enabled(kind)
    return torch.get_autocast_dtype(kind) if low and x.dtype == torch.float32 else x.dtype


def apply_precisely(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a layer in the dtype of its weights, also under autocast.

    Args:
        layer: layer with weights of one dtype.
        x: its input, in any float dtype.
    """
    with full_precision(x.device):
        return layer(x.to(next(layer.parameters()).dtype))


def convolve_precisely(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve with a 3x3 kernel in the dtype of the weight, also under autocast.

    Args:
        x: (B, C, H, W), in any float dtype.
        weight: (C_out, C, 3, 3).
        bias: (C_out,) or None.
    """
    with full_precision(x.device):
        return F.conv2d(x.to(weight.dtype), weight, bias, padding=1)
