from functools import partial

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twostagealign.ops import deform_conv2d

reference = partial(torchvision.ops.deform_conv2d, padding=1)


def arguments(
    batch: int = 2,
    channels: int = 4,
    out_channels: int = 3,
    size: tuple[int, int] = (7, 9),
    groups: int = 2,
    spread: float = 3.0,
    dtype: torch.dtype = torch.float64,
) -> dict[str, Tensor]:
    """Random tensors of matching shapes; offsets as wide as the map, so that many samples leave it."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return {
        "input": normal(batch, channels, *size),
        "offset": spread * normal(batch, 18 * groups, *size),
        "weight": normal(out_channels, channels, 3, 3),
        "bias": normal(out_channels),
        "mask": torch.sigmoid(normal(batch, 9 * groups, *size)),
    }


def assert_equals_torchvision(given: dict[str, Tensor]) -> None:
    """Compare values and the gradients of all inputs."""
    leaves = [tensor.requires_grad_() for tensor in given.values()]
    ours, theirs = deform_conv2d(**given), reference(**given)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)
    towards = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(1))
    for name, a, b in zip(
        given, torch.autograd.grad(ours, leaves, towards), torch.autograd.grad(theirs, leaves, towards), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"groups": 4},
        {"groups": 1, "batch": 1},
        {"size": (1, 1)},
        {"size": (1, 8), "batch": 1},
    ],
)
def test_equals_torchvision(shapes: dict) -> None:
    assert_equals_torchvision(arguments(**shapes))


# The samples of these inputs exceed the chunk size.
@pytest.mark.parametrize(
    "shapes",
    [
        {"channels": 64, "size": (2, 2000), "batch": 1},  # one row does
        {"channels": 64, "size": (20, 200), "batch": 1},  # one item does
        {"channels": 64, "size": (3, 200), "batch": 5},  # the batch does
    ],
)
def test_large_inputs_equal_torchvision(shapes: dict) -> None:
    assert_equals_torchvision(arguments(**shapes))


@pytest.mark.parametrize("absent", ["mask", "bias"])
def test_mask_and_bias_are_optional(absent: str) -> None:
    given = arguments() | {absent: None}
    torch.testing.assert_close(deform_conv2d(**given), reference(**given), rtol=0, atol=1e-10)


def middle_tap(dtype: torch.dtype) -> Tensor:
    """A kernel that reads its middle tap only."""
    kernel = torch.zeros(1, 1, 3, 3, dtype=dtype)
    kernel[..., 1, 1] = 1
    return kernel


@settings(max_examples=20, deadline=None)
@given(st.floats(-1.5, 6.5), st.floats(-1.5, 4.5))
def test_border_interpolates_with_zero(y: float, x: float) -> None:
    image = torch.arange(1.0, 25.0, dtype=torch.float64).view(1, 1, 6, 4)
    # Every output pixel samples the same place, (y, x).
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(4.0), indexing="ij")
    offset = torch.stack((y - rows, x - columns))[None].double().tile(1, 9, 1, 1)
    weight = middle_tap(torch.float64)
    torch.testing.assert_close(
        deform_conv2d(image, offset, weight), reference(image, offset, weight), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(
    ("y", "expected"), [(-1.0, 0.0), (-0.25, 0.75), (0.0, 1.0), (2.75, 0.25), (3.0, 0.0), (-9.0, 0.0)]
)
def test_border_by_hand(y: float, expected: float) -> None:
    offset = torch.zeros(1, 18, 3, 1)
    offset[0, 0::2] = y - torch.arange(3.0)[:, None]
    sampled = deform_conv2d(torch.ones(1, 1, 3, 1), offset, middle_tap(torch.float32))
    torch.testing.assert_close(sampled, torch.full((1, 1, 3, 1), expected))


def test_without_displacement_it_is_a_convolution() -> None:
    given = arguments(dtype=torch.float32)
    plain = torch.nn.functional.conv2d(given["input"], given["weight"], given["bias"], padding=1)
    given["offset"].zero_()
    given["mask"].fill_(1)
    torch.testing.assert_close(deform_conv2d(**given), plain)


def test_gradcheck() -> None:
    given = arguments(batch=1, channels=2, out_channels=2, size=(3, 3), spread=0.7)
    inputs = [tensor.requires_grad_() for tensor in given.values()]

    def convolve(input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return deform_conv2d(input, offset, weight, bias, mask)

    assert torch.autograd.gradcheck(convolve, inputs, eps=1e-7, atol=1e-5)


def test_gradient_mode_and_memory_format_do_not_change_values() -> None:
    given = arguments()
    before = {name: tensor.clone() for name, tensor in given.items()}
    expected = deform_conv2d(**given)
    with torch.inference_mode():
        torch.testing.assert_close(deform_conv2d(**given), expected)
    for name in ("input", "offset", "mask"):
        given[name] = given[name].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(deform_conv2d(**given), expected)
    for name, tensor in given.items():
        assert torch.equal(tensor, before[name]), f"{name} was changed in place"


def test_bfloat16_keeps_exact_positions() -> None:
    # At 200 pixels, neighbouring bfloat16 numbers are one pixel apart: an offset of a half would vanish in the sum.
    given = arguments(size=(3, 200), dtype=torch.bfloat16, spread=0)
    given["offset"] += 0.5
    expected = reference(**{name: tensor.float() for name, tensor in given.items()})
    result = deform_conv2d(**given)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), expected, rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("weight", (3, 2, 3, 3), r"weight has shape \(3, 2, 3, 3\), expected \(3, 4, 3, 3\)"),
        ("weight", (3, 4, 5, 5), r"weight has shape \(3, 4, 5, 5\), expected \(3, 4, 3, 3\)"),
        ("offset", (2, 35, 7, 9), r"offset has shape \(2, 35, 7, 9\), expected \(2, 18, 7, 9\)"),
        ("offset", (2, 54, 7, 9), "offset has 3 groups of 18 channels, expected a divisor of 4"),
        ("offset", (2, 36, 6, 9), r"offset has shape \(2, 36, 6, 9\), expected \(2, 36, 7, 9\)"),
        ("mask", (2, 9, 7, 9), r"mask has shape \(2, 9, 7, 9\), expected \(2, 18, 7, 9\)"),
        ("input", (4, 7, 9), "input and offset have 3 and 4 dimensions, expected 4 each"),
    ],
)
def test_wrong_shapes_are_named(name: str, shape: tuple[int, ...], message: str) -> None:
    given = arguments() | {name: torch.zeros(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=message):
        deform_conv2d(**given)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:
    given = arguments()
    on_gpu = deform_conv2d(**{name: tensor.cuda() for name, tensor in given.items()})
    torch.testing.assert_close(on_gpu.cpu(), deform_conv2d(**given))
