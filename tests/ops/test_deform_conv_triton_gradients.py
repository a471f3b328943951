"""The GPU kernels of gradients, on a CUDA device or, with TRITON_INTERPRET=1, by Triton's interpreter on the CPU."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from torch import Tensor, library
from torch.nn import functional as F
from torchvision.ops import deform_conv2d as reference

pytest.importorskip("triton", reason="needs triton")

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
NAMES = ("input", "offset", "weight", "bias", "mask")
ONCE = {"stride": (1, 1), "padding": (1, 1), "dilation": (1, 1), "groups": 2}

runs_kernel = pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="no device")


@pytest.fixture(autouse=True)
def _nothing_to_choose(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without a device, trials cannot be timed: leave the tuner one configuration."""
    from twostagealign.ops import deform_conv_triton

    if INTERPRETED:
        deform_conv_triton._tuned.cache_clear()
        monkeypatch.setattr(deform_conv_triton, "_CONFIGS", deform_conv_triton._CONFIGS[:1])
    yield
    deform_conv_triton._tuned.cache_clear()


def arguments(
    batch: int = 2,
    size: tuple[int, int] = (3, 5),
    channels: int = 16,
    out_channels: int = 16,
    kernel: tuple[int, int] = (3, 3),
    geometry: dict[str, Any] = ONCE,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Random tensors of fitting shapes that need gradients; offsets so wide that many samples leave the map."""
    generator = torch.Generator().manual_seed(seed)
    geometry = dict(geometry)
    groups = geometry.pop("groups")
    out = F.conv2d(torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel), **geometry).shape[-2:]
    taps = kernel[0] * kernel[1]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    values = {
        "input": normal(batch, channels, *size),
        "offset": 3 * normal(batch, 2 * groups * taps, *out),
        "weight": normal(out_channels, channels, *kernel),
        "bias": normal(out_channels),
        "mask": torch.sigmoid(normal(batch, groups * taps, *out)),
    }
    return {name: value.to(DEVICE).requires_grad_() for name, value in values.items()}


def fused(given: dict[str, Tensor | None], geometry: dict[str, Any] = ONCE) -> Tensor:
    from twostagealign.ops.deform_conv_triton import deform_conv2d_fused, fits

    assert fits(given["input"], given["weight"], geometry["groups"])
    return deform_conv2d_fused(**given, **geometry)


def gradients(
    function: Callable[..., Tensor], given: dict[str, Tensor | None], geometry: dict[str, Any]
) -> dict[str, Tensor]:
    """Gradients of a weighted sum of the output."""
    output = function(given, geometry)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output)
    needed = {name: tensor for name, tensor in given.items() if tensor is not None and tensor.requires_grad}
    return dict(zip(needed, torch.autograd.grad(output, list(needed.values()), weights), strict=True))


def torchvisions(given: dict[str, Tensor | None], geometry: dict[str, Any] = ONCE) -> Tensor:
    return reference(**given, **{name: value for name, value in geometry.items() if name != "groups"})


def assert_gradients_are_right(
    given: dict[str, Tensor | None], geometry: dict[str, Any] = ONCE, tolerance: float = 2e-5
) -> None:
    """Compare with torchvision's gradients in double precision; errors are measured by the largest gradient."""
    doubles = {
        name: None if tensor is None else tensor.detach().double().requires_grad_(tensor.requires_grad)
        for name, tensor in given.items()
    }
    expected = gradients(torchvisions, doubles, geometry)
    for name, result in gradients(fused, given, geometry).items():
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
    ("shapes", "geometry"),
    [
        ({}, {}),
        ({"channels": 32, "out_channels": 64, "batch": 1}, {"groups": 8, "stride": (2, 2)}),
        ({"channels": 64, "out_channels": 16, "batch": 1, "size": (2, 2)}, {"groups": 1}),
        ({"size": (7, 9)}, {"padding": (2, 0), "stride": (1, 2), "dilation": (2, 1)}),
        ({"kernel": (2, 3)}, {"groups": 1, "padding": (0, 1)}),
        ({"kernel": (1, 1), "size": (1, 1), "batch": 3}, {"groups": 16, "padding": (0, 0)}),
    ],
)
def test_equal_torchvision(shapes: dict[str, Any], geometry: dict[str, Any]) -> None:
    geometry = ONCE | geometry
    assert_gradients_are_right(arguments(**shapes, geometry=geometry), geometry)


@runs_kernel
@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True)
@drawn(st.data())
def test_equal_torchvision_for_any_shape(data: st.DataObject) -> None:
    pairs = {
        name: data.draw(st.tuples(*[st.integers(low, 2)] * 2), name)
        for name, low in (("stride", 1), ("padding", 0), ("dilation", 1))
    }
    geometry = pairs | {"groups": data.draw(st.sampled_from([1, 2, 4, 8, 16]))}
    shapes = {
        "batch": data.draw(st.integers(1, 3)),
        "size": data.draw(st.tuples(*[st.integers(5, 9)] * 2)),
        "channels": data.draw(st.sampled_from([16, 32])),
        "out_channels": data.draw(st.sampled_from([16, 32])),
        "kernel": data.draw(st.tuples(*[st.integers(1, 3)] * 2)),
    }
    assert_gradients_are_right(arguments(**shapes, geometry=geometry, seed=data.draw(st.integers(0, 99))), geometry)


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
    result = gradients(fused, given, ONCE)
    assert not any(result[name].any() for name in ("input", "offset", "weight", "mask"))
    assert result["bias"].any()


@runs_kernel
def test_sum_parts_of_many_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from twostagealign.ops import deform_conv_triton

    monkeypatch.setattr(deform_conv_triton, "_PART_PIXELS", 4)
    monkeypatch.setattr(deform_conv_triton, "_PARTS", 3)
    geometry = ONCE | {"padding": (0, 0)}
    assert_gradients_are_right(arguments(size=(9, 10), kernel=(1, 2), geometry=geometry), geometry)


@runs_kernel
def test_read_and_write_channels_last() -> None:
    given = arguments()
    expected = gradients(fused, given, ONCE)
    channels = given["offset"].shape[1]
    # As a convolution predicts them: offsets and mask are slices of one tensor.
    together = torch.cat((given["offset"], given["mask"]), dim=1).detach().contiguous(memory_format=torch.channels_last)
    given |= {"offset": together[:, :channels].requires_grad_(), "mask": together[:, channels:].requires_grad_()}
    given["input"] = given["input"].detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    for name, result in gradients(fused, given, ONCE).items():
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
    given = arguments(kernel=(1, 1), geometry=ONCE)
    (gradient,) = torch.autograd.grad(fused(given).square().sum(), [given["input"]], create_graph=True)
    with pytest.raises(RuntimeError, match="deform_conv2d_backward"):
        gradient.sum().backward()


@runs_kernel
@pytest.mark.slow
def test_compiled_in_one_piece() -> None:
    """Operators say truly what they return before they run, and torch.compile need not stop at them."""
    given = arguments(kernel=(1, 1), geometry=ONCE)
    geometry = [value for name, value in ONCE.items()]
    library.opcheck(torch.ops.twostagealign.deform_conv2d.default, (*(given[n] for n in NAMES), *geometry))
    compiled = torch.compile(fused, fullgraph=True, backend="aot_eager")
    expected = gradients(fused, given, ONCE)
    for name, result in gradients(compiled, given, ONCE).items():
        torch.testing.assert_close(result, expected[name])


@runs_kernel
def test_trials_of_the_tuner_leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    from triton.runtime.autotuner import Autotuner

    from twostagealign.ops import deform_conv_triton

    trials = []

    def benchmark(_: Autotuner, call: Callable[[], None], **__: Any) -> list[float]:
        trials.append(call())
        call()
        return [float(len(trials))] * 3

    configs = [deform_conv_triton.triton.Config({"BLOCK": block}, num_warps=8, num_stages=1) for block in (16, 32)]
    monkeypatch.setattr(deform_conv_triton, "_CONFIGS", configs)
    monkeypatch.setattr(Autotuner, "do_bench", benchmark)
    deform_conv_triton._tuned.cache_clear()
    given = arguments(kernel=(1, 1), geometry=ONCE)
    assert_gradients_are_right(given)
    assert len(trials) == 4
    assert_gradients_are_right(given)
    assert len(trials) == 4


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="the interpreter compiles nothing")
@pytest.mark.parametrize(("dtype", "capability"), [("fp32", 80), ("bf16", 90)])
@pytest.mark.parametrize("name", ["convolve", "backpropagate_to_samples", "backpropagate_to_weight"])
def test_compiles_for_cards(name: str, dtype: str, capability: int) -> None:
    """Every configuration becomes machine code, for the widest layer that fits, in the memory of small cards."""
    import triton
    from triton.backends.compiler import GPUTarget

    from twostagealign.ops import deform_conv_kernels, deform_conv_triton

    kernel = getattr(deform_conv_kernels, name)
    shape = {"KERNEL_WIDTH": 3, "TAPS": 9, "GROUPS": 8, "GROUP_CHANNELS": 8, "OUT_CHANNELS": 64, "PRECISION": "ieee"}
    configs = deform_conv_triton._CONFIGS
    if name == "convolve":
        configs = [triton.Config({"BLOCK": deform_conv_triton._BLOCK}, num_warps=8, num_stages=1)]
    for config in configs:
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
