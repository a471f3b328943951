"""The GPU kernel of the result, on a CUDA device or, with TRITON_INTERPRET=1, by Triton's interpreter on the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d as reference

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

pytest.importorskip("triton", reason="needs triton")
runs_kernel = pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="no device")


def arguments(
    batch: int = 2,
    size: tuple[int, int] = (5, 7),
    channels: int = 16,
    out_channels: int = 16,
    kernel: tuple[int, int] = (3, 3),
    groups: int = 2,
    **geometry: int | tuple[int, int],
) -> dict[str, Tensor]:
    """Random tensors of fitting shapes; offsets as wide as the map, so that many samples leave it."""
    generator = torch.Generator().manual_seed(0)
    probe = torch.nn.functional.conv2d(torch.zeros(1, 1, *size), torch.zeros(1, 1, *kernel), **geometry)
    taps, out = kernel[0] * kernel[1], probe.shape[-2:]

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    given = {
        "input": normal(batch, channels, *size),
        "offset": 3 * normal(batch, 2 * groups * taps, *out),
        "weight": normal(out_channels, channels, *kernel),
        "bias": normal(out_channels),
        "mask": torch.sigmoid(normal(batch, groups * taps, *out)),
    }
    return {name: tensor.to(DEVICE) for name, tensor in given.items()}


def fused(given: dict[str, Tensor | None], groups: int = 2, **geometry: int | tuple[int, int]) -> Tensor:
    """Call the kernel itself."""
    from twostagealign.ops.deform_conv_triton import deform_conv2d_fused, fits

    assert fits(given["input"], given["weight"], groups)
    defaults = {"stride": 1, "padding": 0, "dilation": 1}
    pairs = {
        name: value if isinstance(value, tuple) else (value, value) for name, value in (defaults | geometry).items()
    }
    return deform_conv2d_fused(**given, **pairs, groups=groups)


@runs_kernel
@pytest.mark.parametrize(
    ("shapes", "geometry"),
    [
        ({}, {"padding": 1}),
        ({"channels": 32, "out_channels": 64, "groups": 8}, {"padding": 1, "stride": 2}),
        ({"size": (9, 11)}, {"padding": (2, 0), "stride": (1, 2), "dilation": (2, 1)}),
        ({"kernel": (2, 3), "groups": 1}, {"padding": (0, 1)}),
        ({"kernel": (1, 1), "groups": 16, "size": (1, 1), "batch": 3}, {}),
    ],
)
def test_equals_torchvision(shapes: dict, geometry: dict) -> None:
    given = arguments(**shapes, **geometry)
    result = fused(given, shapes.get("groups", 2), **geometry)
    torch.testing.assert_close(result, reference(**given, **geometry), rtol=1e-4, atol=1e-4)


@runs_kernel
@pytest.mark.parametrize("absent", ["mask", "bias"])
def test_mask_and_bias_are_optional(absent: str) -> None:
    given = arguments(padding=1) | {absent: None}
    torch.testing.assert_close(fused(given, padding=1), reference(**given, padding=1), rtol=1e-4, atol=1e-4)


@runs_kernel
def test_reads_channels_last_slices() -> None:
    given = arguments(padding=1)
    predicted = torch.cat((given["offset"], given["mask"]), dim=1).contiguous(memory_format=torch.channels_last)
    offset, mask = predicted.split((given["offset"].shape[1], given["mask"].shape[1]), dim=1)
    image = given["input"].contiguous(memory_format=torch.channels_last)
    result = fused(given | {"input": image, "offset": offset, "mask": mask}, padding=1)
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, reference(**given, padding=1), rtol=1e-4, atol=1e-4)


@runs_kernel
def test_offsets_that_are_no_numbers_read_zero() -> None:
    given = arguments(padding=1)
    given["offset"][:] = torch.inf
    given["offset"][1] = torch.nan
    result = fused(given, padding=1)
    torch.testing.assert_close(result, given["bias"][:, None, None].expand_as(result))


@runs_kernel
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_exact_positions(dtype: torch.dtype) -> None:
    if INTERPRETED and dtype == torch.bfloat16:
        pytest.skip("the interpreter multiplies the bit patterns of bfloat16 matrices")
    # At 300 pixels, neighbouring bfloat16 numbers are two pixels apart: an offset of a half would vanish in the sum.
    given = {name: tensor.to(dtype) for name, tensor in arguments(size=(1, 300), batch=1, padding=1).items()}
    given["offset"][:] = 0.5
    expected = reference(**{name: tensor.float() for name, tensor in given.items()}, padding=1)
    result = fused(given, padding=1)
    assert result.dtype == dtype
    torch.testing.assert_close(result.float(), expected, rtol=0.02, atol=0.1)


@pytest.mark.parametrize(
    ("channels", "out_channels", "groups", "dtype"),
    [
        (8, 16, 2, torch.float32),
        (16, 128, 2, torch.float32),
        (48, 16, 2, torch.float32),
        (16, 24, 2, torch.float32),
        (16, 16, 2, torch.float64),
    ],
)
def test_what_does_not_fit_is_told(channels: int, out_channels: int, groups: int, dtype: torch.dtype) -> None:
    from twostagealign.ops.deform_conv_triton import fits

    image, weight = torch.zeros(1, channels, 4, 4, dtype=dtype), torch.zeros(out_channels, channels, 3, 3)
    assert not fits(image, weight, groups)
    assert fits(torch.zeros(1, 64, 4, 4), torch.zeros(64, 64, 3, 3), 8)


@runs_kernel
@pytest.mark.parametrize(("channels", "chosen"), [(16, True), (8, False)])
def test_is_chosen_where_it_fits(monkeypatch: pytest.MonkeyPatch, channels: int, chosen: bool) -> None:
    from twostagealign.ops import deform_conv, deform_conv_triton

    calls = []
    kernel = deform_conv_triton.deform_conv2d_fused
    monkeypatch.setattr(deform_conv_triton, "deform_conv2d_fused", lambda *args: calls.append(1) or kernel(*args))
    given = arguments(channels=channels, padding=1)
    given["weight"].requires_grad_()
    # The interpreter works on tensors of the CPU, which deform_conv2d would not bring here.
    result = deform_conv._on_cuda(**given, stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=2)
    torch.testing.assert_close(result, reference(**given, padding=1), rtol=1e-4, atol=1e-4)
    assert bool(calls) == chosen
    assert result.requires_grad


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="is the interpreter's run")
def test_interpreter_runs_the_kernels() -> None:
    files = sorted(str(path) for path in Path(__file__).parent.glob("test_deform_conv_triton*.py"))
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *files]
    run = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert "no device" not in run.stdout
