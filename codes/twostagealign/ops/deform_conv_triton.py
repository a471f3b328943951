"""Modulated deformable convolution in fused GPU kernels, which sample, weight and multiply at once, with gradients."""

from functools import cache
from typing import Any

import torch
import triton
from torch import Tensor, library

from twostagealign.ops import deform_conv_kernels as kernels

# Prefetching loads (num_stages above 1) would need more shared memory than most cards have.
FORWARD_CONFIG = triton.Config({"BLOCK": 32}, num_warps=8, num_stages=1)
"""Output pixels and warps per program of the forward pass."""
BACKWARD_CONFIGS = [
    triton.Config({"BLOCK": block}, num_warps=warps, num_stages=1)
    for block, warps in ((16, 8), (32, 4), (32, 8), (64, 8))
]
"""Configurations of the backward pass. The fastest depends on the card: the first call with new numbers of channels
tries them all. The smallest block is for exact float32, whose products take many registers."""

# The gradient of the weight is summed in parallel parts: at most so many, of at least so many pixels each.
_PARTS = 128
_PART_PIXELS = 256

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def fits(input: Tensor, weight: Tensor, groups: int) -> bool:
    """Whether the kernels take these arguments of ``deform_conv2d``. The sides of their tiles are powers of two.

    Args:
        input: (B, C, H, W).
        weight: (C_out, C, 3, 3).
        groups: number of offset groups.
    """
    channels, out_channels = input.shape[1], weight.shape[0]
    powers = all(number & (number - 1) == 0 for number in (channels, groups, out_channels))
    sizes = 16 <= channels <= 64 and 16 <= out_channels <= 64  # above, float32 needs more memory than small cards have
    return powers and sizes and input.dtype in _DTYPES


# Both passes are custom operators: torch.compile takes each as one step and does not trace into it.
@library.custom_op(
    "twostagealign::deform_conv2d",
    mutates_args=(),
    schema="(Tensor input, Tensor offset, Tensor weight, Tensor? bias, Tensor? mask) -> Tensor",
)
def deform_conv2d_fused(
    input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None
) -> Tensor:
    """Compute ``deform_conv2d`` of checked arguments that ``fits`` accepts.

    The samples are never written to the memory of the device. Tensors in channels_last are read without a copy; the
    result and the gradients are in channels_last. Sums are float32. The gradient of the input is summed in no fixed
    order, so its last bits differ from run to run. Second derivatives are not supported.

    Args:
        input: (B, C, H, W).
        offset: (B, 18 * G, H, W).
        weight: (C_out, C, 3, 3).
        bias: (C_out,) or None.
        mask: (B, 9 * G, H, W) or None.

    Returns:
        (B, C_out, H, W).
    """
    output = _empty_output(input, offset, weight, bias, mask)
    tensors, sizes, constants = _kernel_arguments(input, offset, weight, mask)
    # (9, C, C_out): the matrix of each tap is contiguous.
    matrices = weight.permute(2, 3, 1, 0).to(input.dtype).contiguous()
    config = FORWARD_CONFIG
    with torch.cuda.device_of(input):
        kernels.convolve[(triton.cdiv(sizes[0], config.kwargs["BLOCK"]),)](
            *(*tensors, matrices, bias, output), *sizes, **constants, **config.all_kwargs()
        )
    return output


@deform_conv2d_fused.register_fake
def _empty_output(input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
    return _empty(input, len(input), len(weight), *input.shape[2:])


@library.custom_op(
    "twostagealign::deform_conv2d_backward",
    mutates_args=(),
    schema="(Tensor grad_output, Tensor input, Tensor offset, Tensor weight, Tensor? mask)"
    " -> (Tensor input, Tensor offset, Tensor weight, Tensor mask)",
)
def _backward(
    grad_output: Tensor, input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    tensors, sizes, constants = _kernel_arguments(input, offset, weight, mask)
    pixels = sizes[0]
    grad_output = grad_output.permute(0, 2, 3, 1).contiguous()
    matrices = weight.permute(2, 3, 0, 1).to(input.dtype).contiguous()  # (9, C_out, C)
    grad_input = _empty(input, *input.shape, dtype=torch.float32).zero_()
    grad_offset, grad_weight, grad_mask = _empty_gradients(grad_output, input, offset, weight, mask)[1:]
    parts = min(_PARTS, triton.cdiv(pixels, _PART_PIXELS))
    out_channels, channels = weight.shape[:2]
    part_weights = weight.new_empty(parts, 3, 3, channels, out_channels, dtype=torch.float32)
    with torch.cuda.device_of(input):
        to_samples = _autotuned(kernels.backpropagate_to_samples, accumulators=("grad_image",))
        to_samples[lambda config: (triton.cdiv(pixels, config["BLOCK"]),)](
            *(*tensors, matrices, grad_output, grad_input, grad_offset, None if mask is None else grad_mask),
            *sizes,
            **constants,
        )
        to_weight = _autotuned(kernels.backpropagate_to_weight)
        to_weight[(9, parts)](*tensors, grad_output, part_weights, *sizes, **constants)
    grad_weight.copy_(part_weights.sum(0).permute(3, 2, 0, 1))
    return grad_input.to(input.dtype), grad_offset, grad_weight, grad_mask


@_backward.register_fake
def _empty_gradients(
    grad_output: Tensor, input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    # An operator cannot return None. Without a mask, the last gradient is not used.
    grad_mask = input.new_empty(0) if mask is None else _empty(mask, *mask.shape)
    return _empty(input, *input.shape), _empty(offset, *offset.shape), weight.new_empty(weight.shape), grad_mask


def _save(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    input, offset, weight, bias, mask = ctx.saved_tensors
    grad_input, grad_offset, grad_weight, grad_mask = _backward(grad_output, input, offset, weight, mask)
    grad_bias = None if bias is None else grad_output.sum((0, 2, 3), dtype=torch.float32).to(bias.dtype)
    return grad_input, grad_offset, grad_weight, grad_bias, None if mask is None else grad_mask


deform_conv2d_fused.register_autograd(_differentiate, setup_context=_save)


@cache
def _autotuned(kernel: Any, accumulators: tuple[str, ...] = ()) -> Any:
    """Autotune a Triton kernel; reset `accumulators` to zero before each trial."""
    key = ["GROUPS", "GROUP_CHANNELS", "OUT_CHANNELS"]
    return triton.autotune(BACKWARD_CONFIGS, key=key, reset_to_zero=list(accumulators))(kernel)


def _empty(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """Return an uninitialised tensor (B, C, H, W) in channels_last."""
    batch, channels, height, width = shape
    return like.new_empty(batch, height, width, channels, dtype=dtype).permute(0, 3, 1, 2)


def _kernel_arguments(
    input: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None
) -> tuple[tuple[Tensor | None, ...], tuple[int, ...], dict[str, int | str]]:
    """Return what all kernels take: image, offset and mask by pixel, then sizes, then compile-time constants."""
    batch, channels, height, width = input.shape
    groups = offset.shape[1] // 18
    offset = _by_pixel(offset)
    mask = None if mask is None else _by_pixel(mask)
    strides = (offset.stride(0), 0 if mask is None else mask.stride(0))
    # The precision that matrix products have elsewhere.
    exact = input.dtype != torch.float32 or torch.get_float32_matmul_precision() == "highest"
    constants = {
        "GROUPS": groups,
        "GROUP_CHANNELS": channels // groups,
        "OUT_CHANNELS": len(weight),
        "PRECISION": "ieee" if exact else "tf32",
    }
    sizes = (batch * height * width, height, width, *strides)
    return (input.permute(0, 2, 3, 1).contiguous(), offset, mask), sizes, constants


def _by_pixel(x: Tensor) -> Tensor:
    """Reshape (B, C, H, W) to (B * H * W, C) with adjacent channels; a view of channels_last tensors."""
    x = x.permute(0, 2, 3, 1).flatten(0, 2)
    return x if x.stride(1) == 1 else x.contiguous()
