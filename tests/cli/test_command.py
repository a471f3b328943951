"""The command `twostagealign` and its sub-commands."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import twostagealign as tsa
from twostagealign.cli.command import PROGRAMS, main
from twostagealign.data import write_picture
from twostagealign.models.checkpoint import find_checkpoint, open_restorer
from twostagealign.models.complexity import count_flops

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Calls the command; its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/bin/twostagealign", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code or 0, *capsys.readouterr()

    return call


def test_every_program_explains_itself(call: Call) -> None:
    _, out, _ = call("--help")
    for name in PROGRAMS:
        assert re.search(rf"^ +{name}\b", out, re.MULTILINE)
        code, usage, _ = call(name, "--help")
        assert code == 0
        assert usage.startswith(f"usage: twostagealign {name} [-h]")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["frobnicate"], "COMMAND: invalid choice: 'frobnicate'"),
        (["restore", "--input", "x"], "the following arguments are required: --output"),
        (["list-models", "--all"], "unrecognized arguments: --all"),
    ],
)
def test_mistakes(call: Call, arguments: list[str], message: str) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def test_list_models_counts_weights_and_tells_quality_and_licence(call: Call) -> None:
    code, out, _ = call("list-models")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("tiny ")]
    restorer = open_restorer(find_checkpoint("tiny"))
    weights = sum(weight.numel() for weight in restorer.parameters())
    assert f" TwoStageNet  {weights:,} " in line
    assert re.search(r" \d\d\.\d\d / \d\d\.\d\d dB +non-commercial research, because", line)
    code, out, _ = call("list-models", "--json")
    (tiny,) = [model for model in json.loads(out) if model["name"] == "tiny"]
    assert (tiny["parameters"], Path(tiny["path"])) == (weights, find_checkpoint("tiny"))
    # A tile of 72 x 72 raw pixels is a picture of 144 x 144.
    flops = count_flops(restorer.network, 5, 72)
    assert tiny["gflop_per_megapixel"] == pytest.approx(flops / 1e9 / (0.144 * 0.144), rel=0.01)
    assert 20 < tiny["psnr_high"] < tiny["psnr_low"] < 50


def test_restore(call: Call, tmp_path: Path, tiny_checkpoint: Path) -> None:
    write_picture(tmp_path / "picture.png", np.full((20, 24, 3), 90, np.uint8))
    paths = ["--input", tmp_path / "picture.png", "--output", tmp_path / "out", "--checkpoint", tiny_checkpoint]
    code, out, _ = call("restore", *paths, "--simulate", "low", "--device", "cpu", "--patch", 16)
    assert code == 0
    assert out.endswith(f"written to {tmp_path / 'out'}\n")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["noise"] == "low"


def test_example_can_be_restored(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("example", "coffee", "--output", tmp_path / "coffee")
    assert code == 0
    assert f"restore --input {tmp_path / 'coffee'} --simulate high" in out
    pictures = sorted((tmp_path / "coffee").iterdir())
    assert [path.name for path in pictures] == ["1.png", "2.png", "3.png", "4.png", "5.png"]
    same = tsa.simulate(pictures, "low").demosaicked()
    assert np.array_equal(same, tsa.example("coffee", "low").demosaicked())
    code, _, err = call("example", "coffee", "--output", tmp_path / "coffee")
    assert (code, err.count("\n")) == (2, 1)
    assert "not empty" in err


def test_page_without_its_package_is_one_line() -> None:
    program = (
        "import sys; sys.modules['gradio'] = None; sys.argv = ['twostagealign', 'app']; "
        "from twostagealign.cli.command import main; main()"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 2
    assert finished.stderr == "error: the page needs Gradio: pip install 'twostagealign[app]'\n"
