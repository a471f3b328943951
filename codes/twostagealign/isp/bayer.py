"""Bayer colour filter array: sampling, rearranging into planes, and demosaicking."""

from functools import cache
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

CfaOrder = Literal["RGGB", "BGGR", "GRBG", "GBRG"]
CFA_ORDERS: tuple[CfaOrder, ...] = get_args(CfaOrder)

# Raster index, in a 2 x 2 cell, of R, of G in the red rows, of G in the blue rows, and of B. Each permutation is its
# own inverse, so pack and unpack share them.
_PLANE_ORDER = {"RGGB": [0, 1, 2, 3], "BGGR": [3, 2, 1, 0], "GRBG": [1, 0, 3, 2], "GBRG": [2, 3, 0, 1]}


def mosaic(rgb: Tensor) -> Tensor:
    """Sample linear RGB with the RGGB colour filter array.

    Args:
        rgb: linear camera RGB, (..., 3, 2H, 2W), any dtype.

    Returns:
        Raw planes in the order R, G1, G2, B, (..., 4, H, W).

    Raises:
        ValueError: the number of channels is not three, or a spatial size is odd.

    Example:
        >>> mosaic(torch.zeros(3, 4, 6)).shape
        torch.Size([4, 2, 3])
    """
    _check_channels("rgb", rgb, 3)
    _check_even("rgb", rgb)
    red, green, blue = rgb.unbind(-3)
    planes = (red[..., 0::2, 0::2], green[..., 0::2, 1::2], green[..., 1::2, 0::2], blue[..., 1::2, 1::2])
    return torch.stack(planes, dim=-3)


def unmosaic(planes: Tensor) -> Tensor:
    """Place raw planes at the pixels where the RGGB colour filter array sampled them.

    Args:
        planes: raw planes R, G1, G2, B, (..., 4, H, W), any dtype.

    Returns:
        Sparse RGB, (..., 3, 2H, 2W), zero where a colour was not sampled.

    Raises:
        ValueError: the number of planes is not four.

    Example:
        >>> unmosaic(torch.ones(4, 1, 1))[1]
        tensor([[0., 1.],
                [1., 0.]])
    """
    _check_channels("planes", planes, 4)
    height, width = planes.shape[-2:]
    rgb = planes.new_zeros(*planes.shape[:-3], 3, 2 * height, 2 * width)
    red, green1, green2, blue = planes.unbind(-3)
    rgb[..., 0, 0::2, 0::2] = red
    rgb[..., 1, 0::2, 1::2] = green1
    rgb[..., 1, 1::2, 0::2] = green2
    rgb[..., 2, 1::2, 1::2] = blue
    return rgb


def pack(bayer: Tensor, cfa: str = "RGGB") -> Tensor:
    """Rearrange a Bayer mosaic into four planes.

    Args:
        bayer: one-channel mosaic, (..., 2H, 2W), any dtype.
        cfa: colours of the upper left 2 x 2 cell in raster order, one of `CFA_ORDERS`.

    Returns:
        Planes R, G of the red rows, G of the blue rows, B, (..., 4, H, W), for every order of the mosaic.

    Raises:
        ValueError: the order is unknown, or a spatial size is odd.

    Example:
        >>> pack(torch.tensor([[1, 2], [3, 4]]), "BGGR").flatten()
        tensor([4, 3, 2, 1])
    """
    order = _plane_order(cfa)
    _check_even("bayer", bayer)
    cells = (bayer[..., 0::2, 0::2], bayer[..., 0::2, 1::2], bayer[..., 1::2, 0::2], bayer[..., 1::2, 1::2])
    return torch.stack([cells[i] for i in order], dim=-3)


def unpack(planes: Tensor, cfa: str = "RGGB") -> Tensor:
    """Rearrange four planes into a Bayer mosaic; the inverse of `pack`.

    Args:
        planes: R, G of the red rows, G of the blue rows, B, (..., 4, H, W), any dtype.
        cfa: colours of the upper left 2 x 2 cell of the mosaic in raster order, one of `CFA_ORDERS`.

    Returns:
        One-channel mosaic, (..., 2H, 2W).

    Raises:
        ValueError: the order is unknown, or the number of planes is not four.
    """
    order = _plane_order(cfa)
    _check_channels("planes", planes, 4)
    return F.pixel_shuffle(planes[..., order, :, :], 2).squeeze(-3)


def demosaic(planes: Tensor) -> Tensor:
    """Interpolate raw planes (RGGB) to full RGB with gradient-corrected linear filters of 5 x 5 pixels.

    Sampled colours are kept. Borders are reflected about the outermost pixels, which preserves the colour pattern.
    Interpolated values can lie slightly outside the range of the samples. On CUDA, PyTorch convolves in TF32 by
    default, which leaves about three decimal digits of float32.

    Args:
        planes: raw planes R, G1, G2, B, (..., 4, H, W), floating point, at least 2 x 2.

    Returns:
        RGB, (..., 3, 2H, 2W).

    Raises:
        ValueError: the number of planes is not four, or they are smaller than 2 x 2.

    Source:
        Malvar, He, Cutler, "High-quality linear interpolation for demosaicing of Bayer-patterned color images",
        ICASSP 2004, figure 2.
    """
    _check_channels("planes", planes, 4)
    height, width = planes.shape[-2:]
    if min(height, width) < 2:
        raise ValueError(f"planes: found {height} x {width} pixels, expected at least 2 x 2")
    bayer = unpack(planes).reshape(-1, 1, 2 * height, 2 * width)
    bayer = F.pad(bayer, (2, 2, 2, 2), mode="reflect")
    filters = _malvar_filters_on(planes.device, planes.dtype) if planes.is_cuda else _MALVAR_FILTERS.to(planes)
    rgb = F.pixel_shuffle(F.conv2d(bayer, filters, stride=2), 2)
    return rgb.reshape(*planes.shape[:-3], 3, 2 * height, 2 * width)


def _malvar_filters() -> Tensor:
    """Filters (12, 1, 6, 6) that map a mosaic, with stride 2, to the 2 x 2 cells of R, then of G, then of B."""
    sample = torch.zeros(5, 5)
    sample[2, 2] = 8
    green = torch.tensor([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]])
    # Red (or blue) at a green pixel whose red neighbours are left and right. The transpose is for above and below.
    across = torch.tensor(
        [[0, 0, 0.5, 0, 0], [0, -1, 0, -1, 0], [-1, 4, 5, 4, -1], [0, -1, 0, -1, 0], [0, 0, 0.5, 0, 0]]
    )
    diagonal = torch.tensor(
        [[0, 0, -1.5, 0, 0], [0, 2, 0, 2, 0], [-1.5, 0, 6, 0, -1.5], [0, 2, 0, 2, 0], [0, 0, -1.5, 0, 0]]
    )
    cells = [
        [sample, across, across.T, diagonal],  # R at R, G1, G2, B
        [green, sample, sample, green],
        [diagonal, across.T, across, sample],
    ]
    filters = torch.zeros(12, 1, 6, 6)
    for colour, kernels in enumerate(cells):
        for cell, kernel in enumerate(kernels):
            y, x = divmod(cell, 2)
            filters[4 * colour + cell, 0, y : y + 5, x : x + 5] = kernel / 8
    return filters


_MALVAR_FILTERS = _malvar_filters()


def _plane_order(cfa: str) -> list[int]:
    if cfa not in _PLANE_ORDER:
        raise ValueError(f"cfa: found {cfa!r}, expected one of {', '.join(CFA_ORDERS)}")
    return _PLANE_ORDER[cfa]


def _check_channels(name: str, image: Tensor, channels: int) -> None:
    if image.ndim < 3 or image.shape[-3] != channels:
        raise ValueError(f"{name}: found shape {tuple(image.shape)}, expected (..., {channels}, height, width)")


def _check_even(name: str, image: Tensor) -> None:
    if image.ndim < 2 or image.shape[-2] % 2 or image.shape[-1] % 2:
        raise ValueError(f"{name}: found shape {tuple(image.shape)}, expected an even height and width")


@cache
@torch.inference_mode(False)  # training uses them too
def _malvar_filters_on(device: torch.device, dtype: torch.dtype) -> Tensor:
    """Copy of the filters that stays on a GPU: copying them again would synchronise with the GPU."""
    return _MALVAR_FILTERS.to(device, dtype)
