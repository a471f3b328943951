"""Before our GPU kernels are used, they are compared with torchvision's. Stand-ins fail in every way, on the CPU."""

import json
import logging
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from twostagealign.ops import deform_conv2d, deform_conv_proof
from twostagealign.ops.deform_conv import deform_conv2d_on_gpu
from twostagealign.ops.deform_conv_choice import Verdicts
from twostagealign.ops.deform_conv_proof import Case, find_fault
from twostagealign.runtime.errors import UserError

pytest.importorskip("triton", reason="needs triton")

SIZE = (1, 6, 9)
GROUPS = 2


def case(gradients: bool = True, dtype: torch.dtype = torch.float32) -> Case:
    return Case(torch.device("cpu"), dtype, 16, 16, GROUPS, gradients, "highest")


class SlightlyWrong(torch.autograd.Function):
    """Changes one of very many values of a gradient."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        gradient.view(-1)[5] += 0.1 * gradient.abs().max()
        return gradient


def slow(*given: Tensor | None) -> Tensor:
    time.sleep(0.05)
    return deform_conv2d(*given)


def wrong_at_the_border(*given: Tensor | None) -> Tensor:
    output = deform_conv2d(*given).clone()
    output[..., -1, -1] *= 1.1
    return output


def wrong_gradient(number: int) -> Callable[..., Tensor]:
    def convolve(*given: Tensor | None) -> Tensor:
        changed = [SlightlyWrong.apply(x) if i == number else x for i, x in enumerate(given)]
        return deform_conv2d(*changed)

    return convolve


def not_a_number(*given: Tensor | None) -> Tensor:
    return deform_conv2d(*given) * torch.nan


def fails_to_compile(*_: Tensor | None) -> Tensor:
    raise RuntimeError("PassManager::run failed\n  at line 7")


class TestComparison:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("gradients", [True, False])
    def test_what_is_right_and_fast_has_no_fault(self, gradients: bool, dtype: torch.dtype) -> None:
        assert find_fault(deform_conv2d, slow, case(gradients, dtype), SIZE) is None

    @pytest.mark.parametrize(
        ("stand_in", "fault"),
        [
            (wrong_at_the_border, "give a wrong result: it differs by"),
            (not_a_number, "give a wrong result: it differs by nan %"),
            (wrong_gradient(0), "give a wrong gradient of the input"),
            (wrong_gradient(1), "give a wrong gradient of the offset"),
            (wrong_gradient(4), "give a wrong gradient of the mask"),
            (fails_to_compile, r"fail \(RuntimeError: PassManager::run failed at line 7\)"),
        ],
    )
    def test_faults_are_found(self, stand_in: Callable[..., Tensor], fault: str) -> None:
        found = find_fault(stand_in, slow, case(), SIZE)
        assert found is not None
        assert "\n" not in found
        assert re.match(fault, found), found

    def test_a_wrong_gradient_matters_to_training_only(self) -> None:
        assert find_fault(wrong_gradient(1), slow, case(gradients=False), SIZE) is None

    def test_what_is_slower_is_a_fault(self) -> None:
        found = find_fault(slow, deform_conv2d, case(), SIZE)
        assert found
        assert found.startswith("take ")

    def test_in_the_middle_of_inference_under_autocast(self) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            assert find_fault(deform_conv2d, slow, case(), SIZE) is None

    def test_memory_that_runs_out_is_no_verdict(self) -> None:
        def out_of_memory(*_: Tensor | None) -> Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

        with pytest.raises(torch.OutOfMemoryError):
            find_fault(out_of_memory, slow, case(), SIZE)


class TestVerdicts:
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "folder" / "verdicts.json"

    def test_are_found_once_and_kept(self, path: Path) -> None:
        found = []
        for _ in range(2):
            verdicts = Verdicts(path)
            for fault in (None, "fail"):
                for _ in range(2):
                    assert verdicts.is_good(f"case {fault}", lambda fault=fault: found.append(fault) or fault) == (
                        fault is None
                    )
        assert found == [None, "fail"]

    def test_a_fault_is_said_once_in_each_process(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(2):
            verdicts = Verdicts(path)
            for _ in range(3):
                verdicts.is_good("card", lambda: "take 2 times as long")
        line = "deformable convolution: torchvision's kernels are used, since ours take 2 times as long (card)"
        assert caplog.messages == [line] * 2

    def test_two_processes_keep_each_other_s(self, path: Path) -> None:
        first, second = Verdicts(path), Verdicts(path)
        first.is_good("first", lambda: None)
        second.is_good("second", lambda: "fail")
        assert json.loads(path.read_text()) == {"first": None, "second": "fail"}

    @pytest.mark.parametrize("content", ["", "{", "[1]", '{"case": 1}', "\0" * 9, "[" * 100_000, '{"case": "fail'])
    def test_a_damaged_file_is_replaced(self, path: Path, content: str) -> None:
        path.parent.mkdir()
        path.write_text(content)
        assert Verdicts(path).is_good("case", lambda: None)
        assert json.loads(path.read_text()) == {"case": None}

    def test_without_a_place_for_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        verdicts = Verdicts(tmp_path / "file" / "verdicts.json")
        assert verdicts.is_good("case", lambda: None)


class TestChoice:
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delenv("TSA_DEFORM_CONV", raising=False)
        monkeypatch.setattr(deform_conv_proof, "SIZE", SIZE)
        monkeypatch.setattr(deform_conv_proof, "SLOWER", 1e9)
        return tmp_path / "twostagealign" / "deform_conv.json"

    @pytest.fixture
    def put(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Tensor]], None]:
        """Puts a stand-in into the place of our kernels."""
        from twostagealign.ops import deform_conv_triton

        return lambda stand_in: monkeypatch.setattr(deform_conv_triton, "deform_conv2d_fused", stand_in)

    def call(self, dtype: torch.dtype = torch.float32, gradients: bool = False) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        shapes = [(1, 16, 5, 5), (1, 36, 5, 5), (16, 16, 3, 3), (16,), (1, 18, 5, 5)]
        given = [torch.rand(shape, generator=generator).to(dtype).requires_grad_(gradients) for shape in shapes]
        result = deform_conv2d_on_gpu(*given, groups=GROUPS)
        torch.testing.assert_close(result, deform_conv2d(*given), rtol=0.02, atol=1e-4)
        return result

    def test_good_kernels_are_used_and_remembered(self, put, place: Path, caplog: pytest.LogCaptureFixture) -> None:
        calls = []
        put(lambda *given: calls.append(1) or deform_conv2d(*given))
        self.call()
        (verdict,) = json.loads(place.read_text()).items()
        assert verdict[0].endswith("; float32 (highest), 16 to 16 channels, 2 groups, without gradients")
        assert "torch 2" in verdict[0]
        assert verdict[1] is None
        count = len(calls)
        self.call()
        assert len(calls) == count + 1
        self.call(gradients=True)  # has a verdict of its own
        assert len(json.loads(place.read_text())) == 2
        assert not caplog.messages

    @pytest.mark.parametrize("stand_in", [wrong_at_the_border, not_a_number, fails_to_compile, slow])
    def test_kernels_with_a_fault_are_not(self, put, stand_in, caplog, monkeypatch: pytest.MonkeyPatch) -> None:
        put(stand_in)
        monkeypatch.setattr(deform_conv_proof, "SLOWER", 1.1)
        for _ in range(2):
            self.call()
        assert len(caplog.messages) == 1
        assert caplog.messages[0].startswith("deformable convolution: torchvision's kernels are used, since ours ")

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_torchvision_takes_half_precision(self, put, dtype: torch.dtype) -> None:
        put(fails_to_compile)
        assert self.call(dtype).dtype == dtype

    def test_the_environment_chooses(self, put, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
        put(fails_to_compile)
        monkeypatch.setenv("TSA_DEFORM_CONV", "torchvision")
        self.call()
        monkeypatch.setenv("TSA_DEFORM_CONV", "triton")
        with pytest.raises(RuntimeError, match="PassManager"):
            self.call()
        monkeypatch.setenv("TSA_DEFORM_CONV", "cudnn")
        with pytest.raises(UserError, match="TSA_DEFORM_CONV: found 'cudnn' in the environment, expected auto, "):
            self.call()
        assert not place.exists()

    def test_a_compiled_network_asks_while_it_is_compiled(self, put, logging_off) -> None:
        put(fails_to_compile)
        compiled = torch.compile(deform_conv2d_on_gpu, fullgraph=True, backend="eager")
        given = [torch.rand(shape) for shape in ((1, 16, 5, 5), (1, 36, 5, 5), (16, 16, 3, 3))]
        result = compiled(*given, None, None, GROUPS)
        torch.testing.assert_close(result, deform_conv2d(*given), rtol=1e-4, atol=1e-4)

    @pytest.fixture
    def logging_off(self):
        logging.disable()
        yield
        logging.disable(logging.NOTSET)
