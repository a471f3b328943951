"""Modulated deformable convolution in one GPU kernel: sampling, weighting and the matrix product, forward only."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 32  # output pixels that one program computes
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def fits(input: Tensor, weight: Tensor, groups: int) -> bool:
    """Tell whether the kernel takes these arguments of ``deform_conv2d``: its tiles have powers of two as sides."""
    channels, out_channels = input.shape[1], weight.shape[0]
    powers = all(number & (number - 1) == 0 for number in (channels, groups, out_channels))
    sizes = 16 <= channels <= 64 and 16 <= out_channels <= 64  # beyond, float32 needs more memory than small cards have
    return powers and sizes and input.dtype in _DTYPES


def deform_conv2d_fused(
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
    """Compute what ``deform_conv2d`` promises, without gradients, from checked arguments that ``fits`` accepts.

    The samples never reach the memory of the device. Tensors in channels_last are read as they are, others are copied;
    the result is in channels_last.
    """
    batch, channels, height, width = input.shape
    out_channels, _, *kernel = weight.shape
    out_h, out_w = offset.shape[-2:]
    pixels = batch * out_h * out_w
    image = input.permute(0, 2, 3, 1).contiguous()
    offset = _by_pixel(offset)
    mask = None if mask is None else _by_pixel(mask)
    # (taps, channels, out_channels): the matrix of each tap lies in one piece.
    weight = weight.permute(2, 3, 1, 0).to(input.dtype).contiguous()
    output = image.new_empty(batch, out_h, out_w, out_channels)
    # The precision that matrix products have elsewhere.
    exact = input.dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    with torch.cuda.device_of(input):
        _convolve[(triton.cdiv(pixels, _BLOCK),)](
            *(image, offset, mask, weight, bias, output),
            *(pixels, height, width, out_h, out_w, offset.stride(0), 0 if mask is None else mask.stride(0)),
            *(*stride, *padding, *dilation),
            KERNEL_WIDTH=kernel[1],
            TAPS=kernel[0] * kernel[1],
            GROUPS=groups,
            GROUP_CHANNELS=channels // groups,
            OUT_CHANNELS=out_channels,
            PRECISION="ieee" if exact else "tf32",
            BLOCK=_BLOCK,
            # Loads ahead of their use would be copied to shared memory, more than most cards have.
            num_stages=1,
            num_warps=8,
        )
    return output.permute(0, 3, 1, 2)


def _by_pixel(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B * H * W, C) with the channels side by side; a view if they are so already."""
    x = x.permute(0, 2, 3, 1).flatten(0, 2)
    return x if x.stride(1) == 1 else x.contiguous()


@triton.jit
def _convolve(
    image,  # (B, H, W, C)
    offset,  # (pixels, G * taps * 2)
    mask,  # (pixels, G * taps) or None
    weight,  # (taps, C, C_out)
    bias,  # (C_out,) or None
    output,  # (pixels, C_out)
    pixels,
    height,
    width,
    out_h,
    out_w,
    offset_stride,
    mask_stride,
    stride_y,
    stride_x,
    padding_y,
    padding_x,
    dilation_y,
    dilation_x,
    KERNEL_WIDTH: tl.constexpr,
    TAPS: tl.constexpr,
    GROUPS: tl.constexpr,
    GROUP_CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute BLOCK pixels of the output, one tap of the kernel after the other."""
    channels: tl.constexpr = GROUPS * GROUP_CHANNELS
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = (pixel < pixels)[:, None]
    first_y = ((pixel // out_w % out_h) * stride_y - padding_y)[:, None]
    first_x = (pixel % out_w * stride_x - padding_x)[:, None]
    first = (pixel // (out_w * out_h) * height * width)[:, None]  # pixel of this item of the batch
    group = tl.arange(0, GROUPS)[None, :]
    # Channels of a pixel by group, (1, GROUPS, GROUP_CHANNELS), and one after the other.
    group_channel = group[:, :, None] * GROUP_CHANNELS + tl.arange(0, GROUP_CHANNELS)[None, None, :]
    channel = tl.arange(0, channels)[:, None]
    out_channel = tl.arange(0, OUT_CHANNELS)[None, :]
    total = tl.zeros((BLOCK, OUT_CHANNELS), tl.float32)

    for tap in range(TAPS):
        # Positions and factors are those of a group, (BLOCK, GROUPS).
        at = offset + pixel[:, None] * offset_stride + (group * TAPS + tap) * 2
        y = tl.load(at, mask=exists, other=0).to(tl.float32) + (first_y + tap // KERNEL_WIDTH * dilation_y)
        x = tl.load(at + 1, mask=exists, other=0).to(tl.float32) + (first_x + tap % KERNEL_WIDTH * dilation_x)
        top, left = tl.floor(y), tl.floor(x)
        samples = tl.zeros((BLOCK, GROUPS, GROUP_CHANNELS), tl.float32)
        for corner in tl.static_range(4):
            corner_y, corner_x = top + corner // 2, left + corner % 2
            factor = (1 - tl.abs(y - corner_y)) * (1 - tl.abs(x - corner_x))
            if mask is not None:
                at = mask + pixel[:, None] * mask_stride + group * TAPS + tap
                factor *= tl.load(at, mask=exists, other=0).to(tl.float32)
            inside = (corner_y >= 0) & (corner_y < height) & (corner_x >= 0) & (corner_x < width) & exists
            # Outside, zero is read; inside, the coordinates are small enough for integers.
            line = tl.where(inside, corner_y, 0).to(tl.int64) * width
            place = first + line + tl.where(inside, corner_x, 0).to(tl.int64)
            values = tl.load(image + place[:, :, None] * channels + group_channel, mask=inside[:, :, None], other=0)
            samples += tl.where(inside, factor, 0)[:, :, None] * values.to(tl.float32)
        matrix = tl.load(weight + (tap * channels + channel) * OUT_CHANNELS + out_channel)
        samples = tl.reshape(samples, (BLOCK, channels)).to(matrix.dtype)
        total = tl.dot(samples, matrix, total, input_precision=PRECISION)

    if bias is not None:
        total += tl.load(bias + out_channel).to(tl.float32)
    tl.store(output + pixel[:, None] * OUT_CHANNELS + out_channel, total.to(output.dtype.element_ty), mask=exists)
