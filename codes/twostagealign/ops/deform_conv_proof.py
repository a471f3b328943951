"""Comparison of two implementations of the deformable convolution on a device: values, gradients, speed."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

Convolution = Callable[[Tensor, Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""Takes input, offset, weight, bias and mask, as `deform_conv2d` does."""

SIZE = (5, 72, 72)
"""Batch, height and width of what is compared: the frames of one tile of the REDS protocol."""

SLOWER = 1.1
"""Ratio of times from which on an implementation is slower, not by chance."""

_NAMES = ("input", "offset", "weight", "bias", "mask")
_RUNS = 5


@dataclass(frozen=True)
class Case:
    """A kind of call. Kernels are compiled, and can fail, for each by itself.

    Attributes:
        device: device of the tensors.
        dtype: dtype of the tensors.
        channels: C, channels of the input.
        out_channels: C_out, channels of the output.
        groups: G, groups of channels that share their offsets.
        gradients: whether gradients are asked for.
        precision: precision of products of float32 matrices, see `torch.get_float32_matmul_precision`.
    """

    device: torch.device
    dtype: torch.dtype
    channels: int
    out_channels: int
    groups: int
    gradients: bool
    precision: str

    @property
    def tolerance(self) -> float:
        """Largest difference of two right results, in units of the largest value."""
        if self.dtype != torch.float32:
            return 2e-2
        return 1e-4 if self.precision == "highest" else 1e-2


def find_fault(
    ours: Convolution, theirs: Convolution, case: Case, size: tuple[int, int, int] | None = None
) -> str | None:
    """Look for a reason to use `theirs` instead of `ours`.

    Args:
        ours: implementation to judge.
        theirs: implementation that is taken to be right, in float32.
        case: kind of call.
        size: batch, height and width of the input; None: `SIZE`.

    Returns:
        What is wrong with `ours`, to follow its name; None if it is right and at least about as fast.

    Raises:
        torch.OutOfMemoryError: the device has no memory left to find out.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(case.gradients))
        stack.enter_context(torch.autocast(case.device.type, enabled=False))
        given = _arguments(case, size or SIZE)
        exact = _run(theirs, [tensor.float() for tensor in given], case)
        try:
            results = _run(ours, given, case)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers and drivers raise what they like
            return f"fail ({_in_short(error)})"
        for name, result, expected in zip(("result", *_NAMES), results, exact, strict=False):
            difference = float((result.float() - expected).abs().max() / expected.abs().max())
            if not difference <= case.tolerance:  # nor is NaN
                what = name if name == "result" else f"gradient of the {name}"
                return f"give a wrong {what}: it differs by {100 * difference:.3g} % of the largest value"
        # In turn, so that a slowdown of the device affects both.
        pairs = [[_seconds(call, given, case) for call in (ours, theirs)] for _ in range(_RUNS)]
        own, other = map(min, zip(*pairs, strict=True))
        return f"take {own / other:.2f} times as long" if own > SLOWER * other else None


def _arguments(case: Case, size: tuple[int, int, int]) -> list[Tensor]:
    """Random input, offset, weight, bias and mask."""
    generator = torch.Generator().manual_seed(0)
    batch, height, width = size

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    # Never at whole pixels, where the gradient jumps, not even after rounding to bfloat16; often outside.
    places = (batch, 18 * case.groups, height, width)
    offset = torch.randint(-6, 6, places, generator=generator) + 0.25 + 0.5 * uniform(*places)
    drawn = (
        uniform(batch, case.channels, height, width) - 0.5,
        offset,
        uniform(case.out_channels, case.channels, 3, 3) - 0.5,
        uniform(case.out_channels),
        uniform(batch, 9 * case.groups, height, width),
    )
    return [tensor.to(case.device, case.dtype).requires_grad_(case.gradients) for tensor in drawn]


def _run(call: Convolution, given: list[Tensor], case: Case) -> list[Tensor]:
    """The result, followed by the gradients of all arguments, if they are asked for."""
    leaves = [tensor.detach().requires_grad_(case.gradients) for tensor in given]
    output = call(*leaves)
    if not case.gradients:
        return [output]
    towards = torch.linspace(-1, 1, output.numel(), device=output.device, dtype=output.dtype).view_as(output)
    return [output.detach(), *torch.autograd.grad(output, leaves, towards)]


def _seconds(call: Convolution, given: list[Tensor], case: Case) -> float:
    _wait_for(case.device)
    start = time.perf_counter()
    _run(call, given, case)
    _wait_for(case.device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _in_short(error: Exception) -> str:
    """Kind and first words of an error, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
