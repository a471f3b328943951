"""GPU kernels of the modulated deformable convolution: its result, and the gradients of what goes in.

A program works on BLOCK output pixels, numbered through the whole batch. Tensors lie with the channels of a pixel side
by side. Positions and factors are those of a group of channels, (BLOCK, GROUPS).
"""

import triton
import triton.language as tl


@triton.jit
def _start(pixel, height, width, out_h, out_w, stride_y, stride_x, padding_y, padding_x):
    """Return where the first tap of output pixels lies, y and x, and the first image pixel of their batch item."""
    y = (pixel // out_w % out_h) * stride_y - padding_y
    x = pixel % out_w * stride_x - padding_x
    return y[:, None], x[:, None], (pixel // (out_w * out_h) * height * width)[:, None]


@triton.jit
def _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride):
    """Return where a tap that lies at y, x samples, and the factor from its mask."""
    at = offset + pixel[:, None] * offset_stride + column * 2
    y += tl.load(at, mask=exists, other=0).to(tl.float32)
    x += tl.load(at + 1, mask=exists, other=0).to(tl.float32)
    factor = tl.full(y.shape, 1, tl.float32)
    if mask is not None:
        factor = tl.load(mask + pixel[:, None] * mask_stride + column, mask=exists, other=0).to(tl.float32)
    return y, x, factor


@triton.jit
def _corner(y, x, exists, first, height, width, NUMBER: tl.constexpr):
    """Return whether one of the four pixels around a position is there, which it is, and its weights in y and x."""
    corner_y, corner_x = tl.floor(y) + NUMBER // 2, tl.floor(x) + NUMBER % 2
    inside = (corner_y >= 0) & (corner_y < height) & (corner_x >= 0) & (corner_x < width) & exists
    # Outside, where a coordinate may be no number, weights are zero; inside, coordinates are small enough for integers.
    line = tl.where(inside, corner_y, 0).to(tl.int64) * width
    place = first + line + tl.where(inside, corner_x, 0).to(tl.int64)
    weight_y = tl.where(inside, 1 - tl.abs(y - corner_y), 0)
    weight_x = tl.where(inside, 1 - tl.abs(x - corner_x), 0)
    return inside, place, weight_y, weight_x


@triton.jit
def _sample(
    image, factor, y, x, exists, first, height, width, BLOCK: tl.constexpr, GROUPS: tl.constexpr, SIZE: tl.constexpr
):
    """Return the channels at the positions, SIZE to a group, times the factor of their group: (BLOCK, GROUPS, SIZE)."""
    channels: tl.constexpr = GROUPS * SIZE
    channel = tl.arange(0, GROUPS)[None, :, None] * SIZE + tl.arange(0, SIZE)[None, None, :]
    samples = tl.zeros((BLOCK, GROUPS, SIZE), tl.float32)
    for number in tl.static_range(4):
        inside, place, weight_y, weight_x = _corner(y, x, exists, first, height, width, number)
        values = tl.load(image + place[:, :, None] * channels + channel, mask=inside[:, :, None], other=0)
        samples += (factor * weight_y * weight_x)[:, :, None] * values.to(tl.float32)
    return samples


@triton.jit
def convolve(
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
    """Compute the output of BLOCK pixels, one tap of the kernel after the other."""
    channels: tl.constexpr = GROUPS * GROUP_CHANNELS
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = (pixel < pixels)[:, None]
    first_y, first_x, first = _start(pixel, height, width, out_h, out_w, stride_y, stride_x, padding_y, padding_x)
    group = tl.arange(0, GROUPS)[None, :]
    channel = tl.arange(0, channels)[:, None]
    out_channel = tl.arange(0, OUT_CHANNELS)[None, :]
    total = tl.zeros((BLOCK, OUT_CHANNELS), tl.float32)

    for tap in range(TAPS):
        column = group * TAPS + tap
        y, x = first_y + tap // KERNEL_WIDTH * dilation_y, first_x + tap % KERNEL_WIDTH * dilation_x
        y, x, factor = _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride)
        samples = _sample(image, factor, y, x, exists, first, height, width, BLOCK, GROUPS, GROUP_CHANNELS)
        matrix = tl.load(weight + (tap * channels + channel) * OUT_CHANNELS + out_channel)
        # Reshaped no sooner: with both factors of the product at hand, it takes the fewest registers.
        samples = tl.reshape(samples, (BLOCK, channels)).to(matrix.dtype)
        total = tl.dot(samples, matrix, total, input_precision=PRECISION)

    if bias is not None:
        total += tl.load(bias + out_channel).to(tl.float32)
    tl.store(output + pixel[:, None] * OUT_CHANNELS + out_channel, total.to(output.dtype.element_ty), mask=exists)


@triton.jit
def backpropagate_to_samples(
    image,  # (B, H, W, C)
    offset,  # (pixels, G * taps * 2)
    mask,  # (pixels, G * taps) or None
    weight,  # (taps, C_out, C)
    grad_output,  # (pixels, C_out)
    grad_image,  # (B, H, W, C), float32, zeros
    grad_offset,  # (pixels, G * taps * 2)
    grad_mask,  # (pixels, G * taps) or None
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
    """Compute from the gradient of BLOCK output pixels those of their offsets and masks; add up those of the image."""
    channels: tl.constexpr = GROUPS * GROUP_CHANNELS
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = (pixel < pixels)[:, None]
    first_y, first_x, first = _start(pixel, height, width, out_h, out_w, stride_y, stride_x, padding_y, padding_x)
    group = tl.arange(0, GROUPS)[None, :]
    channel = tl.arange(0, channels)[None, :]
    group_channel = group[:, :, None] * GROUP_CHANNELS + tl.arange(0, GROUP_CHANNELS)[None, None, :]
    out_channel = tl.arange(0, OUT_CHANNELS)

    for tap in range(TAPS):
        column = group * TAPS + tap
        y, x = first_y + tap // KERNEL_WIDTH * dilation_y, first_x + tap % KERNEL_WIDTH * dilation_x
        y, x, factor = _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride)
        matrix = tl.load(weight + (tap * OUT_CHANNELS + out_channel[:, None]) * channels + channel)
        # Read anew for each tap: kept as the product wants it, exact float32 would fill the registers.
        gradient = tl.load(grad_output + pixel[:, None] * OUT_CHANNELS + out_channel[None, :], mask=exists, other=0)
        # The gradient of the samples after the mask.
        grad_samples = tl.dot(gradient, matrix, input_precision=PRECISION)
        grad_samples = tl.reshape(grad_samples, (BLOCK, GROUPS, GROUP_CHANNELS))
        grad_factor = tl.zeros((BLOCK, GROUPS), tl.float32)
        grad_y = tl.zeros((BLOCK, GROUPS), tl.float32)
        grad_x = tl.zeros((BLOCK, GROUPS), tl.float32)
        for number in tl.static_range(4):
            inside, place, weight_y, weight_x = _corner(y, x, exists, first, height, width, number)
            at = place[:, :, None] * channels + group_channel
            values = tl.load(image + at, mask=inside[:, :, None], other=0).to(tl.float32)
            product = tl.sum(grad_samples * values, 2)
            grad_factor += weight_y * weight_x * product
            # Moving down or right takes weight from the upper or left corners and gives it to the others.
            grad_y += (number // 2 * 2 - 1) * weight_x * product
            grad_x += (number % 2 * 2 - 1) * weight_y * product
            share = (factor * weight_y * weight_x)[:, :, None] * grad_samples
            tl.atomic_add(grad_image + at, share, mask=inside[:, :, None], sem="relaxed")
        place = pixel[:, None] * (GROUPS * TAPS) + column
        tl.store(grad_offset + place * 2, (factor * grad_y).to(grad_offset.dtype.element_ty), mask=exists)
        tl.store(grad_offset + place * 2 + 1, (factor * grad_x).to(grad_offset.dtype.element_ty), mask=exists)
        if grad_mask is not None:
            tl.store(grad_mask + place, grad_factor.to(grad_mask.dtype.element_ty), mask=exists)


@triton.jit
def backpropagate_to_weight(
    image,  # (B, H, W, C)
    offset,  # (pixels, G * taps * 2)
    mask,  # (pixels, G * taps) or None
    grad_output,  # (pixels, C_out)
    grad_weight,  # (parts, taps, C, C_out), float32: the sum over the parts is the gradient
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
    """Compute the gradient of one tap's matrix from a part of the pixels: every so many blocks, one."""
    channels: tl.constexpr = GROUPS * GROUP_CHANNELS
    tap, part, parts = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    group = tl.arange(0, GROUPS)[None, :]
    channel = tl.arange(0, channels)[:, None]
    out_channel = tl.arange(0, OUT_CHANNELS)[None, :]
    total = tl.zeros((channels, OUT_CHANNELS), tl.float32)

    for start in range(part * BLOCK, pixels, parts * BLOCK):
        pixel = tl.arange(0, BLOCK).to(tl.int64) + start
        exists = (pixel < pixels)[:, None]
        first_y, first_x, first = _start(pixel, height, width, out_h, out_w, stride_y, stride_x, padding_y, padding_x)
        column = group * TAPS + tap
        y, x = first_y + tap // KERNEL_WIDTH * dilation_y, first_x + tap % KERNEL_WIDTH * dilation_x
        y, x, factor = _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride)
        samples = _sample(image, factor, y, x, exists, first, height, width, BLOCK, GROUPS, GROUP_CHANNELS)
        gradient = tl.load(grad_output + pixel[:, None] * OUT_CHANNELS + out_channel, mask=exists, other=0)
        samples = tl.reshape(samples, (BLOCK, channels)).to(gradient.dtype)
        total = tl.dot(tl.trans(samples), gradient, total, input_precision=PRECISION)

    matrix = (part * TAPS + tap) * channels + channel
    tl.store(grad_weight + matrix * OUT_CHANNELS + out_channel, total)
