"""train.py and restore.py as they are called: exit codes, what is printed where, what is written."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.archs import to_released
from twostagealign.data import write_picture, write_raw_folder
from twostagealign.isp import protocol_camera
from twostagealign.models.checkpoint import load_torch_file

CODES = Path(__file__).parents[1] / "codes"
SMALL_TILES = ["--patch", "16", "--halo", "4", "--search-window", "16"]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a script in this process; returns its exit code, what it printed and what it complained of."""

    def run(script: str, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(CODES / script), run_name="__main__")
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


@pytest.fixture
def refused(call, tmp_path: Path) -> Callable[..., str]:
    """The one line that a script complains in; nothing may have been written."""

    def run(script: str, *arguments: object) -> str:
        before = sorted(tmp_path.rglob("*"))
        code, out, err = call(script, *arguments)
        assert (code, out) == (2, "")
        assert err.startswith("error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return err.removeprefix("error: ").rstrip("\n")

    return run


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three smooth pictures of 20 x 24 pixels."""
    (tmp_path / "clip").mkdir()
    ramp = np.add.outer(6 * np.arange(20), 4 * np.arange(24))[..., None] + np.array([0, 10, 20])
    for number in range(3):
        write_picture(tmp_path / "clip" / f"{number}.png", (ramp + number).astype(np.uint8))
    return tmp_path / "clip"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Three mosaics of 19 x 25 samples."""
    mosaics = torch.rand(3, 19, 25, generator=torch.Generator().manual_seed(0))
    write_raw_folder(tmp_path / "raw", mosaics, protocol_camera(), 1e-3, 1e-2, "GBRG")
    return tmp_path / "raw"


class TestRestore:
    @pytest.fixture
    def arguments(self, clip, tmp_path, tiny_checkpoint) -> list[object]:
        paths = ["--input", clip, "--output", tmp_path / "out", "--checkpoint", tiny_checkpoint]
        return [*paths, "--simulate", "low", "--device", "cpu", *SMALL_TILES]

    def test_prints_the_measures_and_where_the_results_are(self, call, arguments, tmp_path) -> None:
        code, out, err = call("restore.py", *arguments, "--sliding")
        assert code == 0
        lines = out.splitlines()
        assert [line.split()[0] for line in lines] == ["frame", "0", "1", "2", "mean", "written"]
        assert lines[-1] == f"written to {tmp_path / 'out'}"
        assert "error" not in err

    def test_raw_frames_with_all_options(self, call, raw, tmp_path, tiny_checkpoint) -> None:
        code, out, _ = call(
            *("restore.py", "--input", raw, "--output", tmp_path / "out", "--checkpoint", tiny_checkpoint),
            *("--frames", 2, "--reference", 0, "--linear", "--device", "cpu", "--dtype", "bfloat16"),
            *("--patch", 8, "--halo", 4, "--search-window", 16, "--batch", 2, "--no-block-matching"),
        )
        assert code == 0
        assert re.fullmatch(rf"reference frame: \S+, number 1 of 3\nwritten to {re.escape(str(tmp_path))}/out\n", out)
        assert sorted(os.listdir(tmp_path / "out")) == ["0000.png", "0000_linear.png", "metrics.json"]

    def test_released_checkpoints(self, call, arguments, make_restorer, tmp_path) -> None:
        restorer = make_restorer(channels=16)
        for name, module in restorer.named_children():
            torch.save(to_released(type(module).__name__, module.state_dict()), tmp_path / f"{name}.pth")
        paths = ["--checkpoint", tmp_path / "network.pth", "--features-checkpoint", tmp_path / "features.pth"]
        assert call("restore.py", *arguments, *paths)[0] == 0

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            (["--input", "none"], "none: no such folder"),
            (["--frames", 4], "--frames: found 4, expected 1 to 3"),
            (["--reference", 3], "--reference: found 3, expected 0 to 2"),
            (["--search-window", 24], "--search-window: found 24, expected a multiple of 16"),
            (["--patch", 6], "--patch: found 6, expected a multiple of 4"),
            (["--checkpoint", "none.pth"], "none.pth: no such file"),
            (["--checkpoint", "none"], "none: no such file, and none of the shipped checkpoints: "),
            (["--checkpoint", __file__], "not a checkpoint with plain tensors: damaged or of another kind"),
            (["--features-checkpoint", "x.pth"], "x.pth: not needed"),
        ],
    )
    def test_mistakes(self, refused, arguments, changes, message) -> None:
        assert message in refused("restore.py", *arguments, *changes)

    def test_mistakes_in_files(self, refused, arguments, clip, raw, tmp_path) -> None:
        (tmp_path / "file").touch()
        message = refused("restore.py", *arguments, "--output", tmp_path / "file" / "out")
        assert message.endswith("expected a folder that can be written to")
        assert "found the input folder" in refused("restore.py", *arguments, "--output", clip)
        write_picture(clip / "1.png", np.zeros((20, 26, 3), np.uint8))
        assert "found 26x20 pixels, expected 24x20" in refused("restore.py", *arguments)
        (clip / "1.png").write_bytes((clip / "0.png").read_bytes()[:-30])
        assert f"{clip}/1.png: truncated" in refused("restore.py", *arguments)
        (clip / "1.png").unlink()
        (raw / "0001.png").unlink()
        write_picture(raw / "0001.png", np.zeros((19, 25, 3), np.uint16))
        mosaics = ["--input", raw, "--output", tmp_path / "out", *arguments[4:6], "--device", "cpu"]
        assert "found 3 channels, expected a Bayer mosaic" in refused("restore.py", *mosaics)
        (raw / "camera.yml").write_text("cfa: RGGB\n")
        assert f"{raw}/camera.yml: black_level: missing" in refused("restore.py", *mosaics)

    @pytest.mark.parametrize(
        "changes", [["--simulate", "hihg"], ["--dtype", "int8"], ["--frames", "two"], ["--sliding=1"]]
    )
    def test_arguments_that_are_none(self, call, arguments, changes, tmp_path) -> None:
        code, out, err = call("restore.py", *arguments, *changes)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: {changes[0].partition('=')[0]}: ")
        assert err.count("\n") == 1
        assert not (tmp_path / "out").exists()


class TestTrain:
    def test_train_then_resume(self, call, tiny_experiment, tmp_path) -> None:
        arguments = ["train.py", "-opt", tiny_experiment, "--force_yml", "name=two"]
        assert call(*arguments, "train:total_iter=2")[0] == 0
        assert call(*arguments, "train:total_iter=3", "--auto_resume")[0] == 0
        assert os.listdir(tmp_path / "experiments") == ["two"]
        assert load_torch_file(tmp_path / "experiments" / "two" / "training_states" / "3.state")["iteration"] == 3
        assert call(*arguments, "train:total_iter=1")[0] == 0
        archived, two = sorted(os.listdir(tmp_path / "experiments"), reverse=True)
        assert two == "two"
        assert archived.startswith("two_archived_")

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["train:total_itr=3"], "train.total_itr: unknown key"),
            (
                ["network:nf=12", "network:groups=8"],
                "network: nf is 12, expected a positive even multiple of groups = 8",
            ),
            (["path:pretrained=none.pth"], "none.pth: no such file"),
            (["path:pretrained=tiny"], "two_stage_tiny.safetensors: does not fit"),
            (["datasets:train:source=none"], "none: no such folder"),
            (["datasets:train:size=40"], "datasets.train.size: found 40, expected at least 48"),
        ],
    )
    def test_mistakes(self, refused, tiny_experiment, overrides, message) -> None:
        assert message in refused("train.py", "-opt", tiny_experiment, "--force_yml", *overrides)

    def test_mistakes_in_files(self, refused, tiny_experiment, tiny_checkpoint, tmp_path) -> None:
        assert "no such file" in refused("train.py", "-opt", tmp_path / "none.yml")
        wide = ["network:nf=16", f"path:pretrained={tiny_checkpoint}"]
        message = refused("train.py", "-opt", tiny_experiment, "--force_yml", *wide)
        assert f"{tiny_checkpoint}: does not fit TwoStageRestorer: " in message
        (tmp_path / "file").touch()
        below = f"path:experiments_root={tmp_path / 'file' / 'experiments'}"
        message = refused("train.py", "-opt", tiny_experiment, "--force_yml", below)
        assert message == f"{tmp_path}/file/experiments/tiny: cannot be created (Not a directory)"

    def test_damaged_training_state(self, call, tiny_experiment, tmp_path) -> None:
        arguments = ["train.py", "-opt", tiny_experiment, "--force_yml", "train:total_iter=1"]
        assert call(*arguments)[0] == 0
        state = tmp_path / "experiments" / "tiny" / "training_states" / "1.state"
        state.write_text("not a state")
        code, _, err = call(*arguments, "--auto_resume")
        assert code == 2
        assert err == (
            f"error: {state}: damaged (11 bytes): differs from its checksum; there is no older training state to go on "
            "from\n"
        )


class TestAsProcesses:
    """Started by path from any folder, with nothing installed but what they need."""

    @staticmethod
    def start(folder: Path, script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [sys.executable, str(CODES / script), *map(str, arguments)]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    def test_mistake(self, tmp_path) -> None:
        finished = self.start(tmp_path, "restore.py", "--input", "none", "--output", "out", "--device", "cpu")
        assert finished.stderr == "error: none: no such folder, expected a folder of pictures\n"
        assert (finished.returncode, finished.stdout) == (2, "")
        assert os.listdir(tmp_path) == []

    def test_train(self, tiny_experiment, tmp_path) -> None:
        finished = self.start(tmp_path, "train.py", "-opt", "tiny.yml", "--force_yml", "train:total_iter=1")
        assert finished.returncode == 0, finished.stderr
        assert "iteration 1: validation PSNR" in finished.stderr
        log = (tmp_path / "experiments" / "tiny" / "train.log").read_text()
        assert [line.split("INFO: ")[1].split(":")[0] for line in log.splitlines()] == [
            "tiny",
            "iteration 1",
            "iteration 1",
        ]
