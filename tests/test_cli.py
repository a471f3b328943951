import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from twostagealign.cli.run import run
from twostagealign.runtime.device import pick_device, pick_dtype
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code", "stderr"),
    [
        (lambda: None, 0, ""),
        (lambda: 3, 3, ""),
        (raising(UserError("x.yml: seed: found 'a'")), 2, "error: x.yml: seed: found 'a'\n"),
        (raising(UserError("")), 2, "error: \n"),
        (raising(KeyboardInterrupt()), 130, "interrupted\n"),
    ],
)
def test_exit_code_and_one_line(capsys: pytest.CaptureFixture[str], main, code: int, stderr: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run(main)
    assert (caught.value.code or 0) == code
    assert capsys.readouterr().err == stderr


def test_a_bug_shows_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run(raising(ZeroDivisionError()))


class Damaged(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise UserError(f"{index}.png: is damaged")


def test_error_in_a_data_loading_process_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(lambda: next(iter(torch.utils.data.DataLoader(Damaged(), num_workers=1))))
    assert capsys.readouterr().err == "error: 0.png: is damaged\n"


def test_reader_of_the_output_goes_away() -> None:
    program = """
        from twostagealign.cli.run import run
        def main():
            for number in range(100_000):
                print(number)
        run(main)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_pick_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == pick_device("cpu") == torch.device("cpu")
    with pytest.raises(UserError, match=r"^device: found no usable CUDA device, expected one for 'cuda'.*$"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == pick_device("cuda") == torch.device("cuda")
    assert pick_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "device", "capability", "expected"),
    [
        ("auto", "cpu", {"avx512_f": True, "avx512_bf16": False}, torch.float32),
        ("auto", "cpu", {"avx512_bf16": True}, torch.bfloat16),
        ("auto", "cpu", {"amx_bf16": True}, torch.bfloat16),
        ("auto", "cpu", {"neon": True, "bf16": True}, torch.bfloat16),
        ("auto", "cuda", (7, 5), torch.float32),
        ("auto", "cuda", (8, 0), torch.bfloat16),
        ("float16", "cuda", (9, 0), torch.float16),
        ("bfloat16", "cpu", {}, torch.bfloat16),
    ],
)
def test_pick_dtype(monkeypatch: pytest.MonkeyPatch, name, device, capability, expected) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capability, raising=False)
    assert pick_dtype(name, torch.device(device)) == expected


def test_a_pytorch_that_cannot_tell_what_the_cpu_has_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32


def test_output_folder_is_made_and_left_empty(tmp_path: Path) -> None:
    for _ in range(2):
        folder = output_folder(tmp_path / "a/b")
        assert folder == tmp_path / "a/b"
        assert list(folder.iterdir()) == []


def test_output_folder_that_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    for path in (file, file / "below", Path("/proc/nothing"), Path("/proc")):
        with pytest.raises(UserError, match=rf"^{path}: .+, expected a folder that can be written to$"):
            output_folder(path)
    assert file.read_text() == "content"
