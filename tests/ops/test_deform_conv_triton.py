"""The GPU kernel of the result, on a CUDA device or, with TRITON_INTERPRET=1, by Triton's interpreter on the CPU."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

reference = partial(torchvision.ops.deform_conv2d, padding=1)

pytest.importorskip("triton", reason="needs triton")
runs_kernel = pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="no device")


def arguments(
    batch: int = 2, size: tuple[int, int] = (5, 7), channels: int = 16, out_channels: int = 16, groups: int = 2
) -> dict[str, Tensor]:
    """Random tensors of matching shapes; offsets as wide as the map, so that many samples leave it."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    given = {
        "input": normal(batch, channels, *size),
        "offset": 3 * normal(batch, 18 * groups, *size),
        "weight": normal(out_channels, channels, 3, 3),
        "bias": normal(out_channels),
        "mask": torch.sigmoid(normal(batch, 9 * groups, *size)),
    }
    return {name: tensor.to(DEVICE) for name, tensor in given.items()}


def fused(given: dict[str, Tensor | None]) -> Tensor:
    """Call the kernel itself."""
    from twostagealign.ops.deform_conv_triton import deform_conv2d_fused, fits

    assert fits(given["input"], given["weight"], given["offset"].shape[1] // 18)
    return deform_conv2d_fused(**given)


@runs_kernel
@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"channels": 32, "out_channels": 64, "groups": 8},
        {"size": (9, 11), "groups": 1},
        {"size": (1, 1), "groups": 16, "batch": 3},
    ],
)
def test_equals_torchvision(shapes: dict) -> None:
    given = arguments(**shapes)
    torch.testing.assert_close(fused(given), reference(**given), rtol=1e-4, atol=1e-4)


@runs_kernel
@pytest.mark.parametrize("absent", ["mask", "bias"])
def test_mask_and_bias_are_optional(absent: str) -> None:
    given = arguments() | {absent: None}
    torch.testing.assert_close(fused(given), reference(**given), rtol=1e-4, atol=1e-4)


@runs_kernel
def test_reads_channels_last_slices() -> None:
    given = arguments()
    predicted = torch.cat((given["offset"], given["mask"]), dim=1).contiguous(memory_format=torch.channels_last)
    offset, mask = predicted.split((given["offset"].shape[1], given["mask"].shape[1]), dim=1)
    image = given["input"].contiguous(memory_format=torch.channels_last)
    result = fused(given | {"input": image, "offset": offset, "mask": mask})
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result, reference(**given), rtol=1e-4, atol=1e-4)


@runs_kernel
def test_offsets_that_are_no_numbers_read_zero() -> None:
    given = arguments()
    given["offset"][:] = torch.inf
    given["offset"][1] = torch.nan
    result = fused(given)
    torch.testing.assert_close(result, given["bias"][:, None, None].expand_as(result))


@runs_kernel
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_exact_positions(dtype: torch.dtype) -> None:
    if INTERPRETED and dtype == torch.bfloat16:
        pytest.skip("the interpreter multiplies the bit patterns of bfloat16 matrices")
    # At 300 pixels, neighbouring bfloat16 numbers are two pixels apart: an offset of a half would vanish in the sum.
    given = {name: tensor.to(dtype) for name, tensor in arguments(size=(1, 300), batch=1).items()}
    given["offset"][:] = 0.5
    expected = reference(**{name: tensor.float() for name, tensor in given.items()})
    result = fused(given)
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
def test_is_chosen_where_it_fits(channels: int, chosen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from twostagealign.ops.deform_conv import deform_conv2d_on_gpu

    monkeypatch.setenv("TSA_DEFORM_CONV", "triton")  # the interpreter is slow
    given = arguments(channels=channels)
    given["weight"].requires_grad_()
    # The interpreter works on tensors of the CPU, for which deform_conv2d never chooses a kernel.
    result = deform_conv2d_on_gpu(**given, groups=2)
    torch.testing.assert_close(result, reference(**given), rtol=1e-4, atol=1e-4)
    assert ("twostagealign" in result.grad_fn.name()) == chosen


@runs_kernel
def test_passes_the_proof_before_its_first_use(trials: list[None]) -> None:
    from twostagealign.ops.deform_conv_proof import Case, find_fault
    from twostagealign.ops.deform_conv_triton import deform_conv2d_fused

    def theirs(x: Tensor, offset: Tensor, weight: Tensor, bias: Tensor | None, mask: Tensor | None) -> Tensor:
        return reference(x, offset, weight, bias, mask=mask)

    case = Case(torch.device(DEVICE), torch.float32, 16, 16, 2, True, "highest")
    fault = find_fault(deform_conv2d_fused, theirs, case, (1, 5, 7)) or ""
    assert not fault or (INTERPRETED and fault.startswith("take ")), fault


@pytest.mark.slow
@pytest.mark.skipif(INTERPRETED, reason="is the interpreter's run")
def test_interpreter_runs_the_kernels() -> None:
    files = sorted(str(path) for path in Path(__file__).parent.glob("test_deform_conv_triton*.py"))
    command = [sys.executable, "-m", "pytest", "-rs", "-p", "no:cacheprovider", *files]
    run = subprocess.run(command, env=os.environ | {"TRITON_INTERPRET": "1"}, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert "no device" not in run.stdout
