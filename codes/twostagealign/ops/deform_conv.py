"""Modulated deformable convolution, the fastest way for the device and the purpose."""

from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn import functional as F

# Sampled values are produced in chunks of at most this many bytes (of one row at least): few large ones wait for the
# threads less often than many small ones, but have to fit into the last cache.
_CHUNK_BYTES = 8 * 2**20

_HAS_TRITON = find_spec("triton") is not None  # it comes with torch for CUDA on Linux


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    mask: Tensor | None = None,
) -> Tensor:
    """Convolve at sampling positions displaced by ``offset`` and weighted by ``mask``.

    Signature and values are those of :func:`torchvision.ops.deform_conv2d`. On a CUDA device there are kernels of our
    own, for the gradients too, where triton is installed and the numbers of channels fit; otherwise torchvision's are
    called. Elsewhere ``grid_sample`` reads the taps and a matrix product sums them, chunk by chunk, so that memory
    stays bounded (in a pass with gradients the samples of all chunks are kept for the way back). Positions outside the
    input read zero; those less than one pixel outside interpolate with zero.

    Args:
        input: (B, C, H, W).
        offset: (B, 2 * G * kh * kw, Ho, Wo), displacements in pixels; for each of the G groups of channels and each tap
            of the kernel, first y, then x.
        weight: (C_out, C, kh, kw); grouped weights are not supported.
        bias: (C_out,) or None.
        stride: step between outputs, an int or (y, x).
        padding: zeros around the input, an int or (y, x).
        dilation: distance between taps, an int or (y, x).
        mask: (B, G * kh * kw, Ho, Wo), factor on each tap, usually in [0, 1]; None stands for ones.

    Returns:
        (B, C_out, Ho, Wo), the channels of a pixel side by side in memory (channels_last) unless torchvision
        computes them from an input in another layout.

    Raises:
        ValueError: if a shape does not go with the others.

    Source:
        Zhu et al., "Deformable ConvNets v2", CVPR 2019, section 3.2.
    """
    stride, padding, dilation = _pair(stride), _pair(padding), _pair(dilation)
    groups = _check_shapes(input, offset, weight, stride, padding, dilation, mask)
    if input.is_cuda:
        return _on_cuda(input, offset, weight, bias, stride, padding, dilation, mask, groups)
    return _sample_and_multiply(input, offset, weight, bias, stride, padding, dilation, mask, groups)


def _on_cuda(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    mask: Tensor | None,
    groups: int,
) -> Tensor:
    """Call our kernels or torchvision's, imported late: triton and torchvision take long and only help here."""
    if _HAS_TRITON:
        from twostagealign.ops import deform_conv_triton

        if deform_conv_triton.fits(input, weight, groups):
            return deform_conv_triton.deform_conv2d_fused(
                input, offset, weight, bias, stride, padding, dilation, mask, groups
            )
    from torchvision import ops

    output = ops.deform_conv2d(input, offset, weight, bias, stride, padding, dilation, mask)
    # torchvision's result always has the standard layout: the layers after it would go on in that.
    last = input.is_contiguous(memory_format=torch.channels_last)
    return output.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _sample_and_multiply(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    mask: Tensor | None,
    groups: int,
) -> Tensor:
    """Compute what ``deform_conv2d`` promises from checked arguments with ``grid_sample``."""
    _, channels, height, width = input.shape
    out_channels, _, kernel_h, kernel_w = weight.shape
    out_h, out_w = offset.shape[-2:]
    taps = kernel_h * kernel_w
    # Half precision cannot tell pixels of a large map apart.
    dtype = torch.promote_types(input.dtype, torch.float32)
    matrix = weight.reshape(out_channels, channels * taps).t()
    bias = weight.new_zeros(()) if bias is None else bias
    offset = offset.contiguous()  # taken apart by groups and taps below, plane by plane
    mask = input.new_ones(()).expand(len(input), groups * taps, out_h, out_w) if mask is None else mask.contiguous()

    # Undisplaced positions in the coordinates of grid_sample, where -1 and 1 are the outer edges of the outer pixels
    # (align_corners=False, which unlike True also holds for a map one pixel wide): (taps, Ho, 1) and (taps, 1, Wo).
    tap = torch.arange(taps, device=input.device)[:, None, None]
    row = torch.arange(out_h, device=input.device)[:, None]
    column = torch.arange(out_w, device=input.device)
    base_y = (2 * (row * stride[0] + tap // kernel_w * dilation[0] - padding[0]) + 1).to(dtype) / height - 1
    base_x = (2 * (column * stride[1] + tap % kernel_w * dilation[1] - padding[1]) + 1).to(dtype) / width - 1

    def convolve(x: Tensor, offset: Tensor, mask: Tensor, base_y: Tensor) -> Tensor:
        """Some rows of the output of some items of the batch."""
        items = len(x)
        offset = offset.reshape(items * groups, taps, 2, offset.shape[-2], out_w).to(dtype)
        grid_y = torch.add(base_y, offset[:, :, 0], alpha=2 / height)
        grid_x = torch.add(base_x, offset[:, :, 1], alpha=2 / width)
        # The taps lie below one another as extra rows. Coordinates in two separate planes cost one fast copy;
        # interleaved, as grid_sample describes its grid, they would cost a slow one.
        grid = torch.stack((grid_x, grid_y)).flatten(2, 3).permute(1, 2, 3, 0)
        x = x.reshape(items * groups, channels // groups, height, width).to(dtype)
        samples = F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        mask = mask.reshape(items * groups, 1, samples.shape[-2], out_w)
        # In place where nothing needs the samples again: fresh memory is what the multiplication mostly costs.
        samples = samples * mask if torch.is_grad_enabled() else samples.mul_(mask)
        samples = samples.view(items, channels * taps, offset.shape[-2] * out_w).to(matrix.dtype)
        # This way round, the product of a tall and a narrow matrix, is a third faster than the other, and the channels
        # of a pixel come out side by side, as convolutions like them.
        pixels = torch.baddbmm(bias, samples.mT, matrix.expand(items, -1, -1))
        return pixels.view(items, offset.shape[-2], out_w, out_channels).permute(0, 3, 1, 2)

    row_bytes = channels * taps * out_w * dtype.itemsize
    rows = min(max(1, _CHUNK_BYTES // row_bytes), out_h)
    items = max(1, _CHUNK_BYTES // (row_bytes * out_h))
    outputs = []
    for x, x_offset, x_mask in zip(input.split(items), offset.split(items), mask.split(items), strict=True):
        parts = zip(x_offset.split(rows, -2), x_mask.split(rows, -2), base_y.split(rows, -2), strict=True)
        outputs.append(_join([convolve(x, *part) for part in parts], dim=-2))
    return _join(outputs, dim=0).to(input.dtype)


def _join(parts: list[Tensor], dim: int) -> Tensor:
    """Concatenate, but do not copy a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _check_shapes(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    mask: Tensor | None,
) -> int:
    """Raise ValueError where shapes disagree; return the number of offset groups."""
    if input.dim() != 4 or weight.dim() != 4 or offset.dim() != 4:
        dims = f"{input.dim()}, {weight.dim()} and {offset.dim()}"
        raise ValueError(f"input, weight and offset have {dims} dimensions, expected 4 each")
    batch, channels, *size = input.shape
    _, weight_channels, *kernel = weight.shape
    if weight_channels != channels:
        raise ValueError(
            f"weight takes {weight_channels} channels, expected all {channels} of input (no grouped weights)"
        )
    taps = kernel[0] * kernel[1]
    groups = max(1, offset.shape[1] // (2 * taps))
    if channels % groups:
        raise ValueError(f"offset has {groups} groups of {2 * taps} channels, expected a divisor of {channels}")
    span = [dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    out = [(size[i] + 2 * padding[i] - span[i]) // stride[i] + 1 for i in (0, 1)]
    if min(out) < 1:
        raise ValueError(
            f"weight spans {span[0]} x {span[1]} pixels, more than the padded input of {tuple(input.shape)}"
        )
    for name, tensor, width in (("offset", offset, 2 * groups * taps), ("mask", mask, groups * taps)):
        if tensor is not None and list(tensor.shape) != [batch, width, *out]:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, expected {(batch, width, *out)}")
    return groups
