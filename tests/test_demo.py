import json
import runpy
import sys
from contextlib import redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from twostagealign.data import (
    PROTOCOL_NOISE,
    ClipInMemory,
    bundled_picture,
    burst_from_picture,
    read_burst,
    write_picture,
)
from twostagealign.data.stills import example
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.restoration.quality import develop, measure, to_uint8
from twostagealign.restoration.tiling import Tiling
from twostagealign.studies.classical import demosaicked

SCRIPT = Path(__file__).parents[1] / "scripts" / "demo.py"
SIZE = (192, 256)
METHODS = [
    "demosaicking",
    "demosaicking + non-local means",
    "burst average + non-local means",
    "TwoStageAlign",
]


def run_script(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["demo.py", *map(str, arguments)])
        patch.setattr(example, "EXAMPLE_SIZE", SIZE)
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(SCRIPT), run_name="__main__")
    return caught.value.code or 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """What the demo wrote; what it printed is in printed.txt."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "results"
    printed = tmp_path_factory.mktemp("printed") / "printed.txt"
    with printed.open("w") as stdout, redirect_stdout(stdout):
        options = ("--picture", "coffee", "--noise", "low", "--seed", 3, "--device", "cpu")
        assert run_script("--output", folder, "--checkpoint", tiny_checkpoint, *options) == 0
    printed.rename(folder / "printed.txt")
    return folder


@pytest.fixture(scope="module")
def metrics(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_all_files_are_there(folder: Path) -> None:
    pictures = {"noisy.png", "restored.png", "ground_truth.png", "comparison.png"}
    assert {path.name for path in folder.iterdir()} == pictures | {"metrics.json", "printed.txt"}
    for name in ("noisy", "restored", "ground_truth"):
        assert read(folder / f"{name}.png").shape == (*SIZE, 3)


def test_ground_truth_is_the_photograph(folder: Path) -> None:
    """The middle of it: what unprocessing takes away, developing gives back, up to 8 bits."""
    photograph = bundled_picture("coffee")
    top, left = ((side - cut) // 2 for side, cut in zip(photograph.shape[:2], SIZE, strict=True))
    crop = photograph[top : top + SIZE[0], left : left + SIZE[1]].astype(int)
    assert np.abs(read(folder / "ground_truth.png") - crop).mean() < 2


def test_burst_is_that_of_the_test_protocol(folder: Path, metrics: dict) -> None:
    frames, shifts = burst_from_picture(bundled_picture("coffee"), 5, SIZE, (16, 24), seed=3)
    burst = read_burst(ClipInMemory("coffee", frames, PROTOCOL_NOISE["low"]), range(5))
    noisy = demosaicked(burst)
    np.testing.assert_array_equal(read(folder / "noisy.png"), to_uint8(noisy))
    quality = measure(noisy, develop(burst.target(), burst.camera))
    assert metrics["methods"]["demosaicking"] == {"psnr": quality.psnr, "ssim": quality.ssim}
    np.testing.assert_allclose(metrics["true_shifts"], shifts)
    steps = np.linalg.norm(np.diff(shifts, axis=0), axis=1)
    assert ((steps >= 16) & (steps <= 24)).all()


def test_metrics_say_what_was_done(metrics: dict, tiny_checkpoint: Path) -> None:
    assert list(metrics["methods"]) == METHODS
    found = {key: metrics[key] for key in ("picture", "noise", "seed", "checkpoint")}
    assert found == {"picture": "coffee", "noise": "low", "seed": 3, "checkpoint": str(tiny_checkpoint)}
    assert len(metrics["matched_shifts_median"]) == 5
    assert metrics["matched_shifts_median"][2] == [0, 0]
    assert 0 <= metrics["tiles_found"] <= metrics["tiles_visible"] <= 4 * 4
    assert metrics["seconds"] > 0


def test_the_baselines_are_better_than_demosaicking_alone(metrics: dict) -> None:
    plain, *baselines = (metrics["methods"][name] for name in METHODS[:3])
    for baseline in baselines:
        assert baseline["psnr"] > plain["psnr"] + 3
        assert baseline["ssim"] > plain["ssim"]
    assert baselines[0] != baselines[1]


def test_restored_picture_is_the_one_that_was_measured(folder: Path, metrics: dict) -> None:
    """The tone curve is undone by the middle of the values that share a level; black and white are exact."""
    values = torch.linspace(0, 1, 100_001)
    curve = to_uint8(values.expand(3, 1, -1))[0, :, 0]
    levels = np.array([values[curve == level].mean() for level in range(256)])
    levels[[0, 255]] = 0, 1
    restored, target = (levels[read(folder / f"{name}.png")] for name in ("restored", "ground_truth"))
    psnr = -10 * np.log10(np.square(restored - target).mean())
    assert psnr == pytest.approx(metrics["methods"]["TwoStageAlign"]["psnr"], abs=0.02)


def test_table_has_the_same_numbers_and_is_aligned(folder: Path, metrics: dict) -> None:
    head, *rows, last = (folder / "printed.txt").read_text().splitlines()
    assert {len(row) for row in rows} == {len(head)}
    for row, (name, value) in zip(rows, metrics["methods"].items(), strict=True):
        assert row.startswith(name)
        assert row.removeprefix(name).split() == [f"{value['psnr']:.3f}", f"{value['ssim']:.4f}"]
    assert str(folder) in last


def test_a_clip_is_restored_as_restore_py_does_by_protocol(tmp_path: Path, tiny_checkpoint: Path) -> None:
    """The middle frame of six, its noise that of its place in the clip."""
    clip = tmp_path / "walk"
    frames, _ = burst_from_picture(bundled_picture("coffee"), 6, (64, 80), (2, 4), seed=1)
    clip.mkdir()
    for index, frame in enumerate(frames):
        write_picture(clip / f"{index:04d}.png", frame.permute(1, 2, 0).numpy())
    assert run_script("--clip", clip, "--output", tmp_path / "demo", "--checkpoint", tiny_checkpoint) == 0
    found = json.loads((tmp_path / "demo" / "metrics.json").read_text())
    request = Request(tiny_checkpoint, simulate="high", tiling=Tiling(), dtype="float32")
    expected = restore_folder(clip, tmp_path / "restored", request)
    assert found["picture"] == "walk, frame 0003"
    assert found["methods"]["TwoStageAlign"] == pytest.approx(expected["mean"], rel=1e-6)
    assert "true_shifts" not in found
    np.testing.assert_array_equal(read(tmp_path / "demo" / "restored.png"), read(tmp_path / "restored" / "0003.png"))


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--picture", "nope", "bundled picture: found 'nope', expected one of astronaut, "),
        ("--checkpoint", "missing.safetensors", "missing.safetensors: no such file"),
        ("--clip", "missing", "missing: no such folder"),
        ("--seed", -1, "--seed: found '-1', expected at least 0"),
        ("--output", SCRIPT, f"{SCRIPT}: "),
    ],
)
def test_mistakes_are_one_line(tmp_path, tiny_checkpoint, capsys, option, value, problem) -> None:
    arguments = {"--output": tmp_path / "out", "--checkpoint": tiny_checkpoint, option: value}
    assert run_script(*(word for pair in arguments.items() for word in pair)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {problem}")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
