import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import deform_conv2d as reference

from twostagealign.ops import deform_conv, deform_conv2d


def arguments(
    batch: int = 2,
    channels: int = 4,
    out_channels: int = 3,
    size: tuple[int, int] = (7, 9),
    kernel: tuple[int, int] = (3, 3),
    groups: int = 2,
    spread: float = 3.0,
    dtype: torch.dtype = torch.float64,
    **geometry: int | tuple[int, int],
) -> dict[str, Tensor]:
    """Random tensors of fitting shapes; offsets as wide as the map, so that many samples leave it."""
    generator = torch.Generator().manual_seed(0)
    probe = torch.nn.functional.conv2d(torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel), **geometry)
    taps, out = kernel[0] * kernel[1], probe.shape[-2:]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return {
        "input": normal(batch, channels, *size),
        "offset": spread * normal(batch, 2 * groups * taps, *out),
        "weight": normal(out_channels, channels, *kernel),
        "bias": normal(out_channels),
        "mask": torch.sigmoid(normal(batch, groups * taps, *out)),
    }


@pytest.mark.parametrize(
    "geometry",
    [
        {"padding": 1},
        {"padding": 1, "stride": 2},
        {"padding": (2, 0), "stride": (1, 2), "dilation": (2, 1)},
        {"kernel": (1, 1), "groups": 4},
        {"kernel": (5, 3), "padding": (2, 1), "groups": 1},
        {"size": (1, 1), "padding": 1},
        {"size": (1, 8), "padding": 1, "batch": 1},
    ],
)
def test_equals_torchvision(geometry: dict) -> None:
    strides = {name: value for name, value in geometry.items() if name in ("stride", "padding", "dilation")}
    given = arguments(**geometry)
    torch.testing.assert_close(deform_conv2d(**given, **strides), reference(**given, **strides), rtol=0, atol=1e-10)


@pytest.mark.parametrize("absent", ["mask", "bias"])
def test_mask_and_bias_are_optional(absent: str) -> None:
    given = arguments(padding=1) | {absent: None}
    torch.testing.assert_close(deform_conv2d(**given, padding=1), reference(**given, padding=1), rtol=0, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(st.floats(-1.5, 6.5), st.floats(-1.5, 4.5))
def test_border_interpolates_with_zero(y: float, x: float) -> None:
    image = torch.arange(1.0, 25.0, dtype=torch.float64).view(1, 1, 6, 4)
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    # Every output pixel samples the same place, (y, x).
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(4.0), indexing="ij")
    offset = torch.stack((y - rows, x - columns))[None].double()
    torch.testing.assert_close(deform_conv2d(image, offset, one), reference(image, offset, one), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("y", "expected"), [(-1.0, 0.0), (-0.25, 0.75), (0.0, 1.0), (2.75, 0.25), (3.0, 0.0), (-9.0, 0.0)]
)
def test_border_by_hand(y: float, expected: float) -> None:
    offset = torch.zeros(1, 2, 3, 1)
    offset[0, 0] = y - torch.arange(3.0)[:, None]
    sampled = deform_conv2d(torch.ones(1, 1, 3, 1), offset, torch.ones(1, 1, 1, 1))
    torch.testing.assert_close(sampled, torch.full((1, 1, 3, 1), expected))


def test_without_displacement_it_is_a_convolution() -> None:
    given = arguments(padding=1, dtype=torch.float32)
    plain = torch.nn.functional.conv2d(given["input"], given["weight"], given["bias"], padding=1)
    given["offset"].zero_()
    given["mask"].fill_(1)
    torch.testing.assert_close(deform_conv2d(**given, padding=1), plain)


def test_gradients_equal_torchvision() -> None:
    given = arguments(padding=1, size=(5, 6))
    leaves = [tensor.requires_grad_() for tensor in given.values()]
    ours, theirs = deform_conv2d(**given, padding=1), reference(**given, padding=1)
    towards = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(1))
    for name, a, b in zip(
        given, torch.autograd.grad(ours, leaves, towards), torch.autograd.grad(theirs, leaves, towards), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


def test_gradcheck() -> None:
    given = arguments(batch=1, channels=2, out_channels=2, size=(3, 3), padding=1, spread=0.7)
    inputs = [tensor.requires_grad_() for tensor in given.values()]

    def convolve(input: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return deform_conv2d(input, offset, weight, bias, padding=1, mask=mask)

    assert torch.autograd.gradcheck(convolve, inputs, eps=1e-7, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 3000, 10_000])
def test_chunks_do_not_change_values_or_gradients(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    given = arguments(batch=5, padding=1)
    given["input"].requires_grad_()
    whole = deform_conv2d(**given, padding=1)
    (gradient,) = torch.autograd.grad(whole.square().sum(), given["input"])
    monkeypatch.setattr(deform_conv, "_CHUNK_BYTES", chunk)
    pieces = deform_conv2d(**given, padding=1)
    (gradient_of_pieces,) = torch.autograd.grad(pieces.square().sum(), given["input"])
    torch.testing.assert_close(pieces, whole)
    torch.testing.assert_close(gradient_of_pieces, gradient)


def test_gradient_mode_and_memory_format_do_not_change_values() -> None:
    given = arguments(padding=1)
    before = {name: tensor.clone() for name, tensor in given.items()}
    expected = deform_conv2d(**given, padding=1)
    with torch.inference_mode():
        torch.testing.assert_close(deform_conv2d(**given, padding=1), expected)
    for name in ("input", "offset", "mask"):
        given[name] = given[name].contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(deform_conv2d(**given, padding=1), expected)
    for name, tensor in given.items():
        assert torch.equal(tensor, before[name]), f"{name} was changed in place"


def test_bfloat16_keeps_exact_positions() -> None:
    # At 200 pixels, neighbouring bfloat16 numbers are one pixel apart: an offset of a half would vanish in the sum.
    given = arguments(size=(3, 200), padding=1, dtype=torch.bfloat16, spread=0)
    given["offset"] += 0.5
    expected = reference(**{name: tensor.float() for name, tensor in given.items()}, padding=1)
    result = deform_conv2d(**given, padding=1)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.float(), expected, rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("weight", (3, 2, 3, 3), "weight takes 2 channels, expected all 4 of input"),
        ("offset", (2, 35, 7, 9), r"offset has shape \(2, 35, 7, 9\), expected \(2, 18, 7, 9\)"),
        ("offset", (2, 54, 7, 9), "offset has 3 groups of 18 channels, expected a divisor of 4"),
        ("offset", (2, 36, 6, 9), r"offset has shape \(2, 36, 6, 9\), expected \(2, 36, 7, 9\)"),
        ("mask", (2, 9, 7, 9), r"mask has shape \(2, 9, 7, 9\), expected \(2, 18, 7, 9\)"),
        ("weight", (3, 4, 9, 12), r"weight spans 9 x 12 pixels, more than the padded input"),
        ("input", (4, 7, 9), "input, weight and offset have 3, 4 and 4 dimensions, expected 4 each"),
    ],
)
def test_wrong_shapes_are_named(name: str, shape: tuple[int, ...], message: str) -> None:
    given = arguments(padding=1) | {name: torch.zeros(shape, dtype=torch.float64)}
    with pytest.raises(ValueError, match=message):
        deform_conv2d(**given, padding=1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu() -> None:
    given = arguments(padding=1)
    on_gpu = deform_conv2d(**{name: tensor.cuda() for name, tensor in given.items()}, padding=1)
    torch.testing.assert_close(on_gpu.cpu(), deform_conv2d(**given, padding=1))
