"""The GPU kernels of gradients, on a CUDA device or, with TRITON_INTERPRET=1, by Triton's interpreter on the CPU."""

import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, library

pytest.importorskip("triton", reason="needs triton")
pytestmark = pytest.mark.usefixtures("trials")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

runs_kernel = pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="no device")


def arguments(
    batch: int = 2,
    size: tuple[int, int] = (3, 5),
    channels: int = 16,
    out_channels: int = 16,
    groups: int = 2,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Random tensors of matching shapes that need gradients; offsets so wide that many samples leave the map."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    values = {
        "input": normal(batch, channels, *size),
        "offset": 3 * normal(batch, 18 * groups, *size),
        "weight": normal(out_channels, channels, 3, 3),
        "bias": normal(out_channels),
        "mask": torch.sigmoid(normal(batch, 9 * groups, *size)),
    }
    return {name: value.to(DEVICE).requires_grad_() for name, value in values.items()}


def fused(given: dict[str, Tensor | None]) -> Tensor:
    from twostagealign.ops.deform_conv_triton import deform_conv2d_fused, fits

    assert fits(given["input"], given["weight"], given["offset"].shape[1] // 18)
    return deform_conv2d_fused(**given)


def torchvisions(given: dict[str, Tensor | None]) -> Tensor:
    return torchvision.ops.deform_conv2d(**given, padding=1)


def gradients(function: Callable[..., Tensor], given: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Gradients of a weighted sum of the output."""
    output = function(given)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    needed = {name: tensor for name, tensor in given.items() if tensor is not None and tensor.requires_grad}
    return dict(zip(needed, torch.autograd.grad(output, list(needed.values()), weights), strict=True))


def assert_gradients_are_right(given: dict[str, Tensor | None], tolerance: float = 2e-5) -> None:
    """Compare with torchvision's gradients in double precision; errors are measured by the largest gradient."""
    doubles = {
        name: None if tensor is None else tensor.detach().double().requires_grad_(tensor.requires_grad)
        for name, tensor in given.items()
    }
    expected = gradients(torchvisions, doubles)
    for name, result in gradients(fused, given).items():
        assert result.dtype == given[name].dtype
        scale = max(1.0, float(expected[name].abs().max()))
        torch.testing.assert_close(
            result.double(),
            expected[name],
            rtol=0,
            atol=tolerance * scale,
            msg=lambda text, name=name: f"{name}: {text}",
        )


@runs_kernel
@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"channels": 32, "out_channels": 64, "batch": 1, "groups": 8},
        {"channels": 64, "out_channels": 16, "batch": 1, "size": (2, 2), "groups": 1},
        {"size": (1, 1), "batch": 3, "groups": 16},
        {"size": (16, 20)},  # the gradient of the weight is summed in parts
    ],
)
def test_equal_torchvision(shapes: dict[str, Any]) -> None:
    assert_gradients_are_right(arguments(**shapes))


@runs_kernel
@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@drawn(st.data())
def test_equal_torchvision_for_any_shape(data: st.DataObject) -> None:
    shapes = {
        "batch": data.draw(st.integers(1, 3)),
        "size": data.draw(st.tuples(*[st.integers(1, 9)] * 2)),
        "channels": data.draw(st.sampled_from([16, 32])),
        "out_channels": data.draw(st.sampled_from([16, 32])),
        "groups": data.draw(st.sampled_from([1, 2, 4, 8, 16])),
    }
    assert_gradients_are_right(arguments(**shapes, seed=data.draw(st.integers(0, 99))))


@runs_kernel
@pytest.mark.parametrize("absent", ["mask", "bias"])
def test_mask_and_bias_are_optional(absent: str) -> None:
    assert_gradients_are_right(arguments() | {absent: None})


@runs_kernel
def test_weight_alone_can_need_one() -> None:
    given = {name: tensor.requires_grad_(name == "weight") for name, tensor in arguments().items()}
    assert_gradients_are_right(given)


@runs_kernel
def test_at_pixels_and_borders() -> None:
    """Halves of pixels from beyond the upper left corner to beyond the lower right: kinks of the interpolation."""
    given = arguments(size=(3, 4))
    steps = torch.randint(-10, 11, given["offset"].shape, generator=torch.Generator().manual_seed(2))
    given["offset"] = (steps / 2).to(DEVICE).requires_grad_()
    assert_gradients_are_right(given)


@runs_kernel
def test_are_zero_where_offsets_are_no_numbers() -> None:
    given = arguments()
    with torch.no_grad():
        given["offset"][:] = torch.inf
        given["offset"][1] = torch.nan
    result = gradients(fused, given)
    assert not any(result[name].any() for name in ("input", "offset", "weight", "mask"))
    assert result["bias"].any()


@runs_kernel
def test_read_and_write_channels_last() -> None:
    given = arguments()
    expected = gradients(fused, given)
    channels = given["offset"].shape[1]
    # As a convolution predicts them: offsets and mask are slices of one tensor.
    together = torch.cat((given["offset"], given["mask"]), dim=1).detach().contiguous(memory_format=torch.channels_last)
    given |= {"offset": together[:, :channels].requires_grad_(), "mask": together[:, channels:].requires_grad_()}
    given["input"] = given["input"].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    for name, result in gradients(fused, given).items():
        torch.testing.assert_close(result, expected[name])
        assert name in ("weight", "bias") or result.is_contiguous(memory_format=torch.channels_last)


@runs_kernel
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_next_to_float32_weights(dtype: torch.dtype) -> None:
    if INTERPRETED and dtype == torch.bfloat16:
        pytest.skip("the interpreter multiplies the bit patterns of bfloat16 matrices")
    given = {
        name: tensor if name in ("weight", "bias") else tensor.detach().to(dtype).requires_grad_()
        for name, tensor in arguments().items()
    }
    assert_gradients_are_right(given, tolerance=4 * torch.finfo(dtype).eps)


@runs_kernel
def test_cannot_be_differentiated_again() -> None:
    given = arguments(size=(2, 3))
    (gradient,) = torch.autograd.grad(fused(given).square().sum(), [given["input"]], create_graph=True)
    with pytest.raises(RuntimeError, match="deform_conv2d_backward"):
        gradient.sum().backward()


@runs_kernel
@pytest.mark.slow
def test_compiled_in_one_piece() -> None:
    """Operators say truly what they return before they run, and torch.compile need not stop at them."""
    given = arguments(size=(2, 3))
    library.opcheck(torch.ops.twostagealign.deform_conv2d.default, tuple(given.values()))
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
    expected = gradients(fused, given)
    for name, result in gradients(compiled, given).items():
        torch.testing.assert_close(result, expected[name])


@runs_kernel
def test_trials_of_the_tuner_leave_no_trace(trials: list[None]) -> None:
    given = arguments(channels=64, out_channels=32, size=(2, 2), batch=1)  # numbers of channels of no other test
    assert_gradients_are_right(given)
    number = len(trials)
    assert number or not INTERPRETED
    assert_gradients_are_right(given)
    assert len(trials) == number


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize(("dtype", "capability"), [("fp32", 80), ("bf16", 90)])
@pytest.mark.parametrize("name", ["convolve", "backpropagate_to_samples", "backpropagate_to_weight"])
def test_compiles_for_cards(name: str, dtype: str, capability: int) -> None:
    """Every configuration compiles, for the widest layer that fits, and needs no more memory than small cards have."""
    import triton
    from triton.backends.compiler import GPUTarget

    from twostagealign.ops import deform_conv_kernels, deform_conv_triton

    kernel = getattr(deform_conv_kernels, name)
    shape = {"GROUPS": 8, "GROUP_CHANNELS": 8, "OUT_CHANNELS": 64, "PRECISION": "ieee"}
    configs = deform_conv_triton.BACKWARD_CONFIGS
    for config in [deform_conv_triton.FORWARD_CONFIG] if name == "convolve" else configs:
        constants = shape | config.kwargs
        sums = {"bias": "*fp32", "grad_image": "*fp32", "grad_weight": "*fp32"}
        tensors = {"image", "offset", "mask", "weight", "output", "grad_output", "grad_offset", "grad_mask"}
        signature = {
            argument: "constexpr" if argument in constants else f"*{dtype}" if argument in tensors else "i32"
            for argument in kernel.arg_names
        } | {argument: kind for argument, kind in sums.items() if argument in kernel.arg_names}
        source = triton.compiler.ASTSource(
            kernel, signature, {(kernel.arg_names.index(argument),): value for argument, value in constants.items()}
        )
        options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
        binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        assert binary.asm["cubin"]
        assert binary.metadata.shared <= 99 * 1024
