"""Benchmark of the deformable convolution against torchvision's."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torchvision import ops

from twostagealign.ops import deform_conv2d
from twostagealign.studies.benchmarks.measurement import Measurement, race

CASES = (((1, 64, 72, 72), 5.0), ((5, 64, 72, 72), 5.0), ((1, 64, 256, 256), 4.0))
"""Input shape, and required speed-up of the forward pass."""
BACKWARD = 3.0
"""Required speed-up of the backward pass."""
GROUPS = 8
FORWARD_RUNS = 20
"""Calls of each implementation. A call takes milliseconds, and some by chance half as long again."""


def benchmark_dcn(cases: Sequence[tuple[tuple[int, ...], float]] = CASES) -> Iterator[Measurement]:
    """Compare forward and backward passes of a 3x3 kernel, eight groups, offsets ~ N(0, 3 pixels)."""
    for shape, bar in cases:
        tensors = _arguments(shape)
        text = "x".join(map(str, shape))
        with torch.inference_mode():
            ours, theirs = race(*(partial(call, *tensors) for call in (deform_conv2d, _torchvision)), runs=FORWARD_RUNS)
        yield Measurement(f"forward {text}, torchvision / ours", theirs / ours, "x", at_least=bar)
        gradient = torch.ones_like(deform_conv2d(*tensors))
        ours, theirs = race(*(_backward(call, tensors, gradient) for call in (deform_conv2d, _torchvision)))
        yield Measurement(f"backward {text}, torchvision / ours", theirs / ours, "x", at_least=BACKWARD)


def _arguments(shape: tuple[int, ...]) -> list[Tensor]:
    """Return input, offset, weight, bias and mask."""
    generator = torch.Generator().manual_seed(0)
    batch, channels, height, width = shape

    def normal(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator)

    offset, mask = 3 * normal(batch, 18 * GROUPS, height, width), normal(batch, 9 * GROUPS, height, width).sigmoid()
    return [normal(*shape), offset, 0.05 * normal(channels, channels, 3, 3), normal(channels), mask]


def _torchvision(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    return ops.deform_conv2d(x, offset, weight, bias, padding=1, mask=mask)


def _backward(call: Callable, tensors: Sequence[Tensor], gradient: Tensor) -> Callable[[], object]:
    """Return a function that runs the backward pass alone, repeatedly from one forward pass."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    output = call(*leaves)
    return lambda: torch.autograd.grad(output, leaves, gradient, retain_graph=True)
