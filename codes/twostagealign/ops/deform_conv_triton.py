"""Modulated deformable convolution in GPU kernels that sample, weight and multiply at once, and its gradients."""

from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor, library

from twostagealign.ops import deform_conv_kernels as kernels

_BLOCK = 32  # output pixels that one program of the forward pass computes
# What is fastest in the backward pass depends on the card: the first call with new numbers of channels tries these (the
# smallest block is for exact float32, whose products take many registers).
_CONFIGS = [
    # Loads ahead of their use (num_stages) would be copied to shared memory, more than most cards have.
    triton.Config({"BLOCK": block}, num_warps=warps, num_stages=1)
    for block, warps in ((16, 8), (32, 4), (32, 8), (64, 8))
]
# The gradient of the weight is summed in at most so many parts, which run side by side, of at least so many pixels.
_PARTS = 128
_PART_PIXELS = 256

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_Pair = tuple[int, int]


def fits(input: Tensor, weight: Tensor, groups: int) -> bool:
    """Tell whether the kernels take these arguments of ``deform_conv2d``: their tiles have powers of two as sides."""
    channels, out_channels = input.shape[1], weight.shape[0]
    powers = all(number & (number - 1) == 0 for number in (channels, groups, out_channels))
    sizes = 16 <= channels <= 64 and 16 <= out_channels <= 64  # beyond, float32 needs more memory than small cards have
    return powers and sizes and input.dtype in _DTYPES


def deform_conv2d_fused(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    mask: Tensor | None,
    groups: int,
) -> Tensor:
    """Compute what ``deform_conv2d`` promises from checked arguments that ``fits`` accepts.

    The samples never reach the memory of the device. Tensors in channels_last are read as they are, others are copied;
    the result and the gradients are in channels_last. Sums are kept in float32. The gradient of the input is added up
    in no fixed order, its last bits differ from run to run; it cannot be differentiated again.
    """
    return _forward(input, offset, weight, bias, mask, stride, padding, dilation, groups)


# As operators of their own, both passes are single steps to torch.compile, whose insides it leaves alone.
_SIZES = "SymInt[] stride, SymInt[] padding, SymInt[] dilation, SymInt groups"


@library.custom_op(
    "twostagealign::deform_conv2d",
    mutates_args=(),
    schema=f"(Tensor input, Tensor offset, Tensor weight, Tensor? bias, Tensor? mask, {_SIZES}) -> Tensor",
)
def _forward(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None, *geometry: Any
) -> Tensor:
    output = _empty_output(input, offset, weight, bias, mask, *geometry)
    tensors, sizes, constants = _describe(input, offset, weight, mask, *geometry)
    # (taps, C, C_out): the matrix of each tap lies in one piece.
    matrices = weight.permute(2, 3, 1, 0).to(input.dtype).contiguous()
    with torch.cuda.device_of(input):
        kernels.convolve[(triton.cdiv(sizes[0], _BLOCK),)](
            *(*tensors, matrices, bias, output), *sizes, **constants, BLOCK=_BLOCK, num_stages=1, num_warps=8
        )
    return output


@_forward.register_fake
def _empty_output(input: Tensor, offset: Tensor, weight: Tensor, *_: Any) -> Tensor:
    return _empty(input, len(input), len(weight), *offset.shape[2:])


@library.custom_op(
    "twostagealign::deform_conv2d_backward",
    mutates_args=(),
    schema=f"(Tensor grad_output, Tensor input, Tensor offset, Tensor weight, Tensor? mask, {_SIZES})"
    " -> (Tensor input, Tensor offset, Tensor weight, Tensor mask)",
)
def _backward(
    grad_output: Tensor, input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, *geometry: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tensors, sizes, constants = _describe(input, offset, weight, mask, *geometry)
    pixels, taps = sizes[0], constants["TAPS"]
    grad_output = grad_output.permute(0, 2, 3, 1).contiguous()
    matrices = weight.permute(2, 3, 0, 1).to(input.dtype).contiguous()  # (taps, C_out, C)
    grad_input = _empty(input, *input.shape, dtype=torch.float32).zero_()
    grad_offset, grad_weight, grad_mask = _empty_gradients(grad_output, input, offset, weight, mask)[1:]
    parts = min(_PARTS, triton.cdiv(pixels, _PART_PIXELS))
    out_channels, channels, *kernel = weight.shape
    part_weights = weight.new_empty(parts, *kernel, channels, out_channels, dtype=torch.float32)
    with torch.cuda.device_of(input):
        to_samples = _tuned(kernels.backpropagate_to_samples, adds_to="grad_image")
        to_samples[lambda config: (triton.cdiv(pixels, config["BLOCK"]),)](
            *(*tensors, matrices, grad_output, grad_input, grad_offset, None if mask is None else grad_mask),
            *sizes,
            **constants,
        )
        to_weight = _tuned(kernels.backpropagate_to_weight)
        to_weight[(taps, parts)](*tensors, grad_output, part_weights, *sizes, **constants)
    grad_weight.copy_(part_weights.sum(0).permute(3, 2, 0, 1))
    return grad_input.to(input.dtype), grad_offset, grad_weight, grad_mask


@_backward.register_fake
def _empty_gradients(
    grad_output: Tensor, input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, *_: Any
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # An operator cannot return None: without a mask, nothing looks at the last one.
    grad_mask = input.new_empty(0) if mask is None else _empty(mask, *mask.shape)
    return _empty(input, *input.shape), _empty(offset, *offset.shape), weight.new_empty(weight.shape), grad_mask


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.geometry = inputs[5:]


def _differentiate(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    input, offset, weight, bias, mask = ctx.saved_tensors
    grad_input, grad_offset, grad_weight, grad_mask = _backward(grad_output, input, offset, weight, mask, *ctx.geometry)
    grad_bias = None if bias is None else grad_output.sum((0, 2, 3), dtype=torch.float32).to(bias.dtype)
    geometry = (None for _ in ctx.geometry)
    return grad_input, grad_offset, grad_weight, grad_bias, None if mask is None else grad_mask, *geometry


_forward.register_autograd(_differentiate, setup_context=_save)


@cache
def _tuned(kernel: Any, adds_to: str | None = None) -> Any:
    """Have Triton find the configuration of a kernel by trials; what it ``adds_to`` is zero again before each."""
    return triton.autotune(
        _CONFIGS,
        key=["GROUPS", "GROUP_CHANNELS", "OUT_CHANNELS", "TAPS"],
        reset_to_zero=[adds_to] if adds_to else None,
    )(kernel)


def _empty(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return a tensor (B, C, H, W) in channels_last whose values are not set."""
    batch, channels, height, width = shape
    return like.new_empty(batch, height, width, channels, dtype=dtype).permute(0, 3, 1, 2)


def _describe(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: _Pair,
    padding: _Pair,
    dilation: _Pair,
    groups: int,
) -> tuple[tuple[Tensor | None, ...], tuple[int, ...], dict[str, int | str]]:
    """Return what all kernels take: image, offset and mask by pixel, then sizes, then constants to compile with."""
    batch, channels, height, width = input.shape
    out_channels, _, *kernel = weight.shape
    out_h, out_w = offset.shape[-2:]
    offset = _by_pixel(offset)
    mask = None if mask is None else _by_pixel(mask)
    strides = (offset.stride(0), 0 if mask is None else mask.stride(0))
    # The precision that matrix products have elsewhere.
    exact = input.dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    constants = {
        "KERNEL_WIDTH": kernel[1],
        "TAPS": kernel[0] * kernel[1],
        "GROUPS": groups,
        "GROUP_CHANNELS": channels // groups,
        "OUT_CHANNELS": out_channels,
        "PRECISION": "ieee" if exact else "tf32",
    }
    sizes = (batch * out_h * out_w, height, width, out_h, out_w, *strides, *stride, *padding, *dilation)
    return (input.permute(0, 2, 3, 1).contiguous(), offset, mask), sizes, constants


def _by_pixel(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B * H * W, C) with the channels side by side; a view if they are so already."""
    x = x.permute(0, 2, 3, 1).flatten(0, 2)
    return x if x.stride(1) == 1 else x.contiguous()
