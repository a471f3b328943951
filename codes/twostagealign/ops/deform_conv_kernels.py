"""GPU kernels of the modulated deformable convolution: its output, and the gradients of its inputs.

A program works on BLOCK output pixels, numbered through the whole batch. All tensors are channels_last. There are nine
taps, three rows of three. Positions and factors are per group of channels, (BLOCK, GROUPS).
"""

import triton
import triton.language as tl


@triton.jit
def _first_tap(pixel, height, width):
    """Return y and x of the first tap of output pixels, and the first image pixel of their batch item."""
    y = pixel // width % height - 1
    x = pixel % width - 1
    return y[:, None], x[:, None], (pixel // (width * height) * height * width)[:, None]


@triton.jit
def _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride):
    """Return y and x where the tap at y, x samples, and its factor from the mask."""
    at = offset + pixel[:, None] * offset_stride + column * 2
    y += tl.load(at, mask=exists, other=0).to(tl.float32)
    x += tl.load(at + 1, mask=exists, other=0).to(tl.float32)
    factor = tl.full(y.shape, 1, tl.float32)
    if mask is not None:
        factor = tl.load(mask + pixel[:, None] * mask_stride + column, mask=exists, other=0).to(tl.float32)
    return y, x, factor


@triton.jit
def _corner(y, x, exists, first, height, width, NUMBER: tl.constexpr):
    """Return whether one of the four pixels around a position is inside, its index, and its weights in y and x."""
    corner_y, corner_x = tl.floor(y) + NUMBER // 2, tl.floor(x) + NUMBER % 2
    inside = (corner_y >= 0) & (corner_y < height) & (corner_x >= 0) & (corner_x < width) & exists
    # Outside, where a coordinate may be NaN, weights are zero. Inside, coordinates are small enough for integers.
    line = tl.where(inside, corner_y, 0).to(tl.int64) * width
    place = first + line + tl.where(inside, corner_x, 0).to(tl.int64)
    weight_y = tl.where(inside, 1 - tl.abs(y - corner_y), 0)
    weight_x = tl.where(inside, 1 - tl.abs(x - corner_x), 0)
    return inside, place, weight_y, weight_x


@triton.jit
def _sample(
    image, factor, y, x, exists, first, height, width, BLOCK: tl.constexpr, GROUPS: tl.constexpr, SIZE: tl.constexpr
):
    """Return the SIZE channels of each group at the positions, times the factor of the group: (BLOCK, GROUPS, SIZE)."""
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
    offset,  # (pixels, G * 9 * 2)
    mask,  # (pixels, G * 9) or None
    weight,  # (9, C, C_out)
    bias,  # (C_out,) or None
    output,  # (pixels, C_out)
    pixels,
    height,
    width,
    offset_stride,
    mask_stride,
    GROUPS: tl.constexpr,
    GROUP_CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the output of BLOCK pixels, tap by tap."""
    channels: tl.constexpr = GROUPS * GROUP_CHANNELS
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = (pixel < pixels)[:, None]
    first_y, first_x, first = _first_tap(pixel, height, width)
    group = tl.arange(0, GROUPS)[None, :]
    channel = tl.arange(0, channels)[:, None]
    out_channel = tl.arange(0, OUT_CHANNELS)[None, :]
    total = tl.zeros((BLOCK, OUT_CHANNELS), tl.float32)

    for tap in range(9):
        column = group * 9 + tap
        y, x = first_y + tap // 3, first_x + tap % 3
        y, x, factor = _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride)
        samples = _sample(image, factor, y, x, exists, first, height, width, BLOCK, GROUPS, GROUP_CHANNELS)
        matrix = tl.load(weight + (tap * channels + channel) * OUT_CHANNELS + out_channel)
        # Reshaped just before the product, which takes the fewest registers.
        samples = tl.reshape(samples, (BLOCK, channels)).to(matrix.dtype)
        total = tl.dot(samples, matrix, total, input_precision=PRECISION)

    if bias is not None:
        total += tl.load(bias + out_channel).to(tl.float32)
    tl.store(output + pixel[:, None] * OUT_CHANNELS + out_channel, total.to(output.dtype.element_ty), mask=exists)


@triton.jit
def backpropagate_to_samples(
    image,  # (B, H, W, C)
    offset,  # (pixels, G * 9 * 2)
    mask,  # (pixels, G * 9) or None
    weight,  # (9, C_out, C)
    grad_output,  # (pixels, C_out)
    grad_image,  # (B, H, W, C), float32, zeros
    grad_offset,  # (pixels, G * 9 * 2)
    grad_mask,  # (pixels, G * 9) or None
    pixels,
    height,
    width,
    offset_stride,
    mask_stride,
    GROUPS: tl.constexpr,
    GROUP_CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the gradients of offset and mask at BLOCK output pixels; add their share to the gradient of the image."""
    channels: tl.constexpr = GROUPS * GROUP_CHANNELS
    pixel = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    exists = (pixel < pixels)[:, None]
    first_y, first_x, first = _first_tap(pixel, height, width)
    group = tl.arange(0, GROUPS)[None, :]
    channel = tl.arange(0, channels)[None, :]
    group_channel = group[:, :, None] * GROUP_CHANNELS + tl.arange(0, GROUP_CHANNELS)[None, None, :]
    out_channel = tl.arange(0, OUT_CHANNELS)

    for tap in range(9):
        column = group * 9 + tap
        y, x = first_y + tap // 3, first_x + tap % 3
        y, x, factor = _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride)
        matrix = tl.load(weight + (tap * OUT_CHANNELS + out_channel[:, None]) * channels + channel)
        # Read again for each tap: kept in the layout of the product, exact float32 would fill the registers.
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
            # A move down or right takes weight from the upper or left corners and adds it to the others.
            grad_y += (number // 2 * 2 - 1) * weight_x * product
            grad_x += (number % 2 * 2 - 1) * weight_y * product
            share = (factor * weight_y * weight_x)[:, :, None] * grad_samples
            tl.atomic_add(grad_image + at, share, mask=inside[:, :, None], sem="relaxed")
        place = pixel[:, None] * (GROUPS * 9) + column
        tl.store(grad_offset + place * 2, (factor * grad_y).to(grad_offset.dtype.element_ty), mask=exists)
        tl.store(grad_offset + place * 2 + 1, (factor * grad_x).to(grad_offset.dtype.element_ty), mask=exists)
        if grad_mask is not None:
            tl.store(grad_mask + place, grad_factor.to(grad_mask.dtype.element_ty), mask=exists)


@triton.jit
def backpropagate_to_weight(
    image,  # (B, H, W, C)
    offset,  # (pixels, G * 9 * 2)
    mask,  # (pixels, G * 9) or None
    grad_output,  # (pixels, C_out)
    grad_weight,  # (parts, 9, C, C_out), float32: the sum over the parts is the gradient
    pixels,
    height,
    width,
    offset_stride,
    mask_stride,
    GROUPS: tl.constexpr,
    GROUP_CHANNELS: tl.constexpr,
    OUT_CHANNELS: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the gradient of one tap's matrix from a part of the pixels: one in every `parts` blocks."""
    channels: tl.constexpr = GROUPS * GROUP_CHANNELS
    tap, part, parts = tl.program_id(0), tl.program_id(1), tl.num_programs(1)
    group = tl.arange(0, GROUPS)[None, :]
    channel = tl.arange(0, channels)[:, None]
    out_channel = tl.arange(0, OUT_CHANNELS)[None, :]
    total = tl.zeros((channels, OUT_CHANNELS), tl.float32)

    for start in range(part * BLOCK, pixels, parts * BLOCK):
        pixel = tl.arange(0, BLOCK).to(tl.int64) + start
        exists = (pixel < pixels)[:, None]
        first_y, first_x, first = _first_tap(pixel, height, width)
        column = group * 9 + tap
        y, x = first_y + tap // 3, first_x + tap % 3
        y, x, factor = _displace(y, x, offset, mask, pixel, exists, column, offset_stride, mask_stride)
        samples = _sample(image, factor, y, x, exists, first, height, width, BLOCK, GROUPS, GROUP_CHANNELS)
        gradient = tl.load(grad_output + pixel[:, None] * OUT_CHANNELS + out_channel, mask=exists, other=0)
        samples = tl.reshape(samples, (BLOCK, channels)).to(gradient.dtype)
        total = tl.dot(tl.trans(samples), gradient, total, input_precision=PRECISION)

    matrix = (part * 9 + tap) * channels + channel
    tl.store(grad_weight + matrix * OUT_CHANNELS + out_channel, total)
