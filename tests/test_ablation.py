import json
import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from twostagealign.data import (
    PROTOCOL_NOISE,
    ClipInMemory,
    bundled_picture,
    burst_from_picture,
    read_burst,
    write_picture,
)
from twostagealign.restoration.quality import develop, measure
from twostagealign.studies.ablation import methods, scenes
from twostagealign.studies.classical import demosaicked

SCRIPT = Path(__file__).parents[1] / "scripts" / "ablation.py"


@pytest.fixture
def script(monkeypatch, capfd, tmp_path, tiny_experiment):
    """Runs the script on small frames and with trainings of a second; exit code, stdout, stderr."""
    base = yaml.safe_load(tiny_experiment.read_text())
    options = tmp_path / "options"
    options.mkdir()
    monkeypatch.setattr(methods, "OPTIONS", options)
    for name in methods.VARIANTS:
        changes = {"name": f"ablation_{name}"}
        if name == "stage_two":
            changes["matching"] = {"search_window": None}
        (options / f"{name}.yml").write_text(yaml.safe_dump(base | changes))
    monkeypatch.setattr(scenes, "SIZE", 64)
    monkeypatch.setattr(scenes, "SHIFTS", (0, 4))
    monkeypatch.setattr(scenes, "PICTURES", ("coffee",))
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ablation.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return end.value.code or 0, *capfd.readouterr()

    return call


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "some: pictures"  # a name that YAML would take for a mapping
    folder.mkdir()
    draw = np.random.default_rng(0)
    for k in range(9):
        write_picture(folder / f"{k}.png", draw.integers(0, 255, (80, 80, 3), np.uint8))
    return folder


@pytest.mark.slow
def test_variants_are_trained_measured_and_written_down(script, photographs, tmp_path):
    names = ["both", "stage_two"]
    code, out, err = script("--train", "--data", photographs, "--reds", photographs, "--variants", *names)
    assert code == 0, err
    folder = tmp_path / "results" / "ablation"
    assert {path.name for path in folder.iterdir()} == {"results.json", "tables.md", "ablation.png", "frames.png"}
    assert out.startswith((folder / "tables.md").read_text())
    assert "| both stages | 6 of 6 iterations |" in out
    content = json.loads((folder / "results.json").read_text())
    pictures = {(cell["group"], cell["picture"]) for cell in content["cells"]}
    assert len(pictures) == 1 + 2 + 3 + 1 + 1
    assert len(content["cells"]) == (4 + 5 + 2) * 3 * (2 * 3 + 3) + 3 * 7 * (2 + 1)
    psnr = {
        (cell["method"], cell["shift"]): cell["psnr"]
        for cell in content["cells"]
        if cell["picture"] == "coffee" and cell["noise"] == "low"
    }
    assert psnr["both stages", 4] != psnr["stage two only", 4]
    # Again: nothing is left to be trained or measured, and the result is the same.
    before = (folder / "results.json").stat().st_mtime_ns
    code, again, _ = script("--train", "--data", photographs, "--reds", photographs, "--variants", *names)
    assert (code, again) == (0, out)
    assert (folder / "results.json").stat().st_mtime_ns == before


def test_what_is_not_trained_is_left_out(script, tmp_path):
    code, out, err = script("--output", "somewhere")
    assert code == 0
    lines = [line for line in err.splitlines() if "skipped" in line]
    assert len(lines) == 6
    weights = tmp_path / "experiments" / "ablation_both" / "models" / "net_latest.safetensors"
    assert f"both: skipped, not trained yet ({weights}: no such file)" in lines
    assert "burst average + non-local means" in out
    tiny, stage_one_off, alone = (
        re.findall(rf"^\| {name} \| (\S+) \| (\S+) \|$", out, re.MULTILINE)
        for name in ("tiny", "tiny, stage one off", "tiny, reference frame alone")
    )
    assert len(tiny) == len(stage_one_off) == len(alone) == 3
    assert all(first == second for first, second in alone)
    assert all(at_rest > by_itself for (at_rest, _), (by_itself, _) in zip(tiny, alone, strict=True))
    assert "in motion at high noise, mean over" in out
    for name in ("ablation.png", "frames.png"):
        assert (tmp_path / "somewhere" / name).is_file()


def test_what_is_left_out_of_the_shipped_checkpoint():
    frames, _ = burst_from_picture(bundled_picture("coffee"), size=(192, 192), speed=(8, 12), seed=0)
    burst = read_burst(ClipInMemory("coffee", frames, PROTOCOL_NOISE["low"]), range(5))
    alone, stage_one_off, coarse, average, whole = (method.restore(burst) for method in methods.shipped())
    truth = develop(burst.target(), burst.camera)
    assert measure(whole, truth).psnr > measure(coarse, truth).psnr > measure(stage_one_off, truth).psnr
    assert measure(whole, truth).psnr > measure(average, truth).psnr > measure(demosaicked(burst), truth).psnr
    of_one = replace(burst, frames=[burst.reference])
    assert torch.equal(methods.shipped()[-1].restore(of_one), alone)
    assert not torch.equal(alone, stage_one_off)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--train"], "--train: needs a folder of pictures to train on; pass --data FOLDER"),
        (["--reds", "nowhere"], "nowhere: no such folder, expected a folder of pictures"),
    ],
)
def test_mistakes_are_one_line(script, tmp_path, arguments, problem):
    assert script(*arguments) == (2, "", f"error: {problem}\n")
    assert not (tmp_path / "results").exists()


def test_the_shipped_options_are_all_there():
    for name in methods.VARIANTS:
        assert methods.weights_file(methods.OPTIONS / f"{name}.yml").parts[-3:] == (
            f"ablation_{name}",
            "models",
            "net_latest.safetensors",
        )
