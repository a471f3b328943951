"""metrics.json of simulated and raw bursts, and its schema."""

import json
import logging
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from twostagealign.data import bundled_picture, write_picture, write_raw_folder
from twostagealign.isp import protocol_camera
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.restoration.metrics_file import Metrics
from twostagealign.restoration.outputs import Outputs
from twostagealign.restoration.tiling import Tiling

SCHEMA = Path(__file__).parents[2] / "docs" / "metrics.schema.json"


@pytest.fixture
def restore(tiny_checkpoint, tmp_path):
    """Restores a folder; returns what metrics.json holds."""

    def run(input: Path, **arguments) -> dict:
        arguments |= {"device": "cpu", "tiling": Tiling(patch=16)}
        returned = restore_folder(input, tmp_path / "out", Request(tiny_checkpoint, **arguments))
        written = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert written == json.loads(json.dumps(returned))
        return written

    return run


@pytest.fixture
def raw(tmp_path) -> Path:
    mosaics = torch.rand(3, 20, 28, generator=torch.Generator().manual_seed(0))
    write_raw_folder(tmp_path / "raw", mosaics, protocol_camera(), 1e-3, 1e-2, "GRBG", [64] * 4, 1023)
    return tmp_path / "raw"


def test_documented_schema_is_the_true_one() -> None:
    # python -m twostagealign.restoration.metrics_file > docs/metrics.schema.json
    assert json.loads(SCHEMA.read_text()) == Metrics.model_json_schema()


def test_simulated_clip(restore, tmp_path) -> None:
    (tmp_path / "clip").mkdir()
    for index in range(2):
        write_picture(tmp_path / "clip" / f"{index}.png", bundled_picture("coffee")[:20, index : 24 + index])
    metrics = restore(tmp_path / "clip", simulate="low")
    Metrics.model_validate(metrics)
    assert metrics["mean"]["psnr"] == metrics["frames"][0]["psnr"]
    assert metrics["noise"] == "low"


def test_raw_burst(restore, raw, tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        metrics = restore(raw, frames=3, reference=1, outputs=Outputs("jpeg", brightness=1.0, dng="cfa"))
    Metrics.model_validate(metrics)
    (frame,) = metrics["frames"]
    assert frame == {
        "name": "0001",
        "window": ["0000", "0001", "0002"],
        "gains": [1.0, 1.0, 1.0],
        "files": ["0001.jpg", "0001.dng"],
        "tone": "curve",
        "exposure_correction": 1.0,
    }
    assert all((tmp_path / "out" / file).is_file() for file in frame["files"])
    assert [entry["name"] for entry in metrics["inputs"]] == frame["window"]
    read = metrics["inputs"][0]
    assert (read["cfa"], read["white_level"], read["black_level"]) == ("GRBG", 1023, [64] * 4)
    assert read["white_balance"] == pytest.approx({"red": 2.0, "blue": 1.7})
    assert read["noise"] == {"shot": 1e-3, "read": 1e-2}
    assert metrics["outputs"]["dng"] == "cfa"
    assert metrics["warnings"] == [record.getMessage() for record in caplog.records]


def test_warnings_are_kept(restore, raw) -> None:
    metrics = restore(raw / "0001.png")
    assert any("restored from this frame alone" in warning for warning in metrics["warnings"])
    assert [entry["name"] for entry in metrics["inputs"]] == ["0001"]


def test_replaced_defects_are_counted(restore, tmp_path) -> None:
    mosaics = 0.3 + 0.01 * torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    mosaics[:, 20, 30] = 0.9  # a hot sample
    write_raw_folder(tmp_path / "raw", mosaics, protocol_camera(), 1e-9, 1e-2)
    assert restore(tmp_path / "raw")["defects"] == 1


def test_other_content_does_not_fit(restore, raw) -> None:
    metrics = restore(raw)
    for wrong in (metrics | {"surplus": 1}, metrics | {"warnings": [1]}, {**metrics, "inputs": None}):
        with pytest.raises(ValidationError):
            Metrics.model_validate(wrong)
