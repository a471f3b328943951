"""Modulated deformable convolution with a 3x3 kernel, by the fastest method for the device."""

import math
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

from twostagealign.runtime.exporting import is_exporting

# Samples are computed in chunks of at most this many bytes, but of one row at least. Few large chunks synchronise the
# threads less often than many small ones, but a chunk has to fit into the last-level cache.
_CHUNK_BYTES = 8 * 2**20

_HAS_TRITON = find_spec("triton") is not None  # installed with torch for CUDA on Linux


def deform_conv2d(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None = None, mask: Tensor | None = None
) -> Tensor:
    """Convolve with a 3x3 kernel at sampling positions displaced by ``offset`` and weighted by ``mask``.

    The output has the size of the input. Values are those of :func:`torchvision.ops.deform_conv2d` with ``padding=1``:
    positions outside the input read zero, and those less than one pixel outside interpolate with zero.

    On the CPU, ``grid_sample`` reads the taps and a matrix product sums them, chunk by chunk, which bounds the memory;
    with gradients, the samples of all chunks are saved for backward. On a GPU, see :func:`deform_conv2d_on_gpu`. An
    exported graph contains torchvision's operator.

    Args:
        input: (B, C, H, W).
        offset: (B, 18 * G, H, W), displacements in pixels: for each of the G groups of channels and each of the 9 taps,
            first y, then x.
        weight: (C_out, C, 3, 3); grouped weights are not supported.
        bias: (C_out,) or None.
        mask: (B, 9 * G, H, W), factor on each tap, usually in [0, 1]; None stands for ones.

    Returns:
        (B, C_out, H, W), in channels_last unless torchvision computes it from an input in another layout.

    Raises:
        ValueError: shapes do not match.

    Source:
        Zhu et al., "Deformable ConvNets v2", CVPR 2019, section 3.2.
    """
    groups = _check_shapes(input, offset, weight, mask)
    if is_exporting():
        from torchvision import ops

        return ops.deform_conv2d(input, offset, weight, bias, padding=1, mask=mask)
    convolve = deform_conv2d_on_gpu if input.is_cuda else _sample_and_multiply
    return convolve(input, offset, weight, bias, mask, groups)


def deform_conv2d_on_gpu(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, groups: int
) -> Tensor:
    """Compute ``deform_conv2d`` of checked arguments by our Triton kernels, or else by torchvision.

    The kernels are used where triton is installed, they take these numbers of channels, and a comparison with
    torchvision's has found them right and not slower; see `deform_conv_choice`.

    Args:
        input: (B, C, H, W).
        offset: (B, 18 * G, H, W).
        weight: (C_out, C, 3, 3).
        bias: (C_out,) or None.
        mask: (B, 9 * G, H, W) or None.
        groups: G.

    Returns:
        (B, C_out, H, W).
    """
    # Imported here because triton takes long to import, and the CPU does not need it.
    if _HAS_TRITON:
        from twostagealign.ops import deform_conv_triton

        tensors = (input, offset, weight, bias, mask)
        gradients = torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)
        if deform_conv_triton.fits(input, weight, groups) and _takes_triton(
            input.device, input.dtype, input.shape[1], len(weight), groups, gradients
        ):
            return deform_conv_triton.deform_conv2d_fused(input, offset, weight, bias, mask)
    return _by_torchvision(input, offset, weight, bias, mask)


def _takes_triton(
    device: torch.device, dtype: torch.dtype, channels: int, out_channels: int, groups: int, gradients: bool
) -> bool:
    """Whether our kernels are chosen for calls of this kind."""
    from twostagealign.ops import deform_conv_triton
    from twostagealign.ops.deform_conv_choice import is_proven, kernels_to_use
    from twostagealign.ops.deform_conv_proof import Case, find_fault

    choice = kernels_to_use()
    if choice != "auto":
        return choice == "triton"
    precision = torch.get_float32_matmul_precision()
    case = Case(device, dtype, channels, out_channels, groups, gradients, precision)
    return is_proven(case, lambda: find_fault(deform_conv_triton.deform_conv2d_fused, _by_torchvision, case))


# torch.compile calls it while it compiles, and keeps what it returns: torch.compiler.assume_constant_result does the
# same, but takes a second to import.
_takes_triton._dynamo_marked_constant = True  # type: ignore[attr-defined]


def _by_torchvision(input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
    """Compute ``deform_conv2d`` of checked arguments by torchvision, which takes long to import."""
    from torchvision import ops

    # On a GPU, torchvision's kernels do not take bfloat16, and in float16 positions lose their fractions.
    dtype = torch.promote_types(input.dtype, torch.float32)
    x, offset, weight = input.to(dtype), offset.to(dtype), weight.to(dtype)
    bias, mask = (None if tensor is None else tensor.to(dtype) for tensor in (bias, mask))
    output = ops.deform_conv2d(x, offset, weight, bias, padding=1, mask=mask).to(input.dtype)
    # torchvision always returns the standard layout; keep that of the input for the layers that follow.
    last = input.is_contiguous(memory_format=torch.channels_last)
    return output.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _sample_and_multiply(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, groups: int
) -> Tensor:
    """Compute ``deform_conv2d`` of checked arguments by ``grid_sample``."""
    _, channels, height, width = input.shape
    # Half precision cannot represent positions in large maps.
    dtype = torch.promote_types(input.dtype, torch.float32)
    matrix = weight.reshape(len(weight), channels * 9).t()
    bias = weight.new_zeros(()) if bias is None else bias
    offset = offset.contiguous()  # split by groups and taps below, plane by plane
    mask = input.new_ones(()).expand(len(input), groups * 9, height, width) if mask is None else mask.contiguous()

    # Positions before displacement, in the coordinates of grid_sample: -1 and 1 are the outer edges of the outer pixels
    # (align_corners=False, which unlike True also works for a map one pixel wide). Shape (9, 2, H, W).
    tap = torch.arange(9, device=input.device)[:, None, None]
    row = torch.arange(height, device=input.device)[:, None]
    column = torch.arange(width, device=input.device)
    base_y = (2 * (row + tap // 3 - 1) + 1).to(dtype) / height - 1
    base_x = (2 * (column + tap % 3 - 1) + 1).to(dtype) / width - 1
    base = torch.stack(torch.broadcast_tensors(base_y, base_x), dim=1)
    pixel = torch.tensor([2 / height, 2 / width], dtype=dtype, device=input.device)[:, None, None]

    def convolve(x: Tensor, offset: Tensor, mask: Tensor, base: Tensor) -> Tensor:
        """Compute some rows of the output of some items of the batch."""
        items, rows = len(x), offset.shape[-2]
        # (B * G, 9, 2, rows * W): y comes before x here, but grid_sample expects x before y. So it samples the
        # transposed map, which needs no copy. The output has a row for each tap.
        offset = offset.reshape(items * groups, 9, 2, rows, width).to(dtype)
        grid = torch.addcmul(base, offset, pixel).flatten(3).mT
        x = x.reshape(items * groups, channels // groups, height, width).to(dtype).mT
        samples = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False).flatten(2)
        mask = mask.reshape(items * groups, 1, 9 * rows * width)
        # In place where the samples are not needed again: the multiplication mostly costs the allocation.
        samples = samples * mask if torch.is_grad_enabled() else samples.mul_(mask)
        samples = samples.view(items, channels * 9, rows * width).to(matrix.dtype)
        # This order, a tall matrix times a narrow one, is a third faster than the other, and its result is
        # channels_last, which convolutions prefer.
        pixels = torch.baddbmm(bias, samples.mT, matrix.expand(items, -1, -1))
        return pixels.view(items, rows, width, len(weight)).permute(0, 3, 1, 2)

    row_bytes = channels * 9 * width * dtype.itemsize
    chunks = math.ceil(height / max(1, _CHUNK_BYTES // row_bytes))
    rows = math.ceil(height / chunks)  # chunks of equal size
    items = max(1, _CHUNK_BYTES // (row_bytes * height))
    outputs = []
    for x, x_offset, x_mask in zip(input.split(items), offset.split(items), mask.split(items), strict=True):
        parts = zip(x_offset.split(rows, -2), x_mask.split(rows, -2), base.split(rows, -2), strict=True)
        outputs.append(_join([convolve(x, *part) for part in parts], dim=-2))
    return _join(outputs, dim=0).to(input.dtype)


def _join(parts: list[Tensor], dim: int) -> Tensor:
    """Concatenate without copying a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _check_shapes(input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None) -> int:
    """Raise ValueError if shapes do not match; return the number of offset groups."""
    if input.dim() != 4 or offset.dim() != 4:
        raise ValueError(f"input and offset have {input.dim()} and {offset.dim()} dimensions, expected 4 each")
    batch, channels, height, width = input.shape
    expected = (len(weight), channels, 3, 3)
    if weight.shape != expected:
        raise ValueError(f"weight has shape {tuple(weight.shape)}, expected {expected}")
    groups = max(1, offset.shape[1] // 18)
    if channels % groups:
        raise ValueError(f"offset has {groups} groups of 18 channels, expected a divisor of {channels}")
    for name, tensor, count in (("offset", offset, 18 * groups), ("mask", mask, 9 * groups)):
        expected = (batch, count, height, width)
        if tensor is not None and tensor.shape != expected:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {expected}")
    return groups
