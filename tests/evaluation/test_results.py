import csv
import io
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from twostagealign.evaluation.results import (
    Checkpoint,
    Comparison,
    Environment,
    FrameResult,
    Memory,
    Results,
    Run,
    Seconds,
    read_results,
    write_record,
)
from twostagealign.evaluation.summary import frames_csv, results_table, summarise_clip, summarise_clips
from twostagealign.runtime.errors import UserError

SCHEMA = Path(__file__).parents[2] / "docs" / "results.schema.json"


def frame(clip: str, index: int, psnr: float | None, part: str = "center") -> FrameResult:
    return FrameResult(
        psnr=psnr,
        ssim=psnr and psnr / 50,
        lpips=None,
        clip=clip,
        frame=f"{index:08d}",
        index=index,
        part=part,
        window=[f"{index:08d}"],
        seconds=Seconds(matching=0.1, network=2, stitching=0.01),
        memory=Memory(resident=2**30, device=None),
        pictures=None,
    )


def results(frames: list[FrameResult], **changes) -> Results:
    names = list(dict.fromkeys(x.clip for x in frames))
    clips = [summarise_clip(name, [x for x in frames if x.clip == name]) for name in names]
    mean = summarise_clips(clips)
    run = Run(
        checkpoint="net", noise="high", shot=0.0064, read=0.02, paper_psnr=36.06, mean=mean, clips=clips, frames=frames
    )
    comparison = Comparison(
        noise="high",
        metric="psnr",
        baseline="net",
        candidate="other",
        difference=0.1234,
        low=-0.01,
        high=0.3,
        confidence=0.95,
        frames=8,
    )
    checkpoint = Checkpoint(
        label="net",
        file="net.pth",
        sha256="00",
        network="TwoStageNet",
        parameters=12052144,
        feature_parameters=9840,
        tile_gflop=158.3,
    )
    usual = {
        "schema_version": 1,
        "dataset": "REDS4",
        "data": "datasets/REDS4",
        "complete": True,
        "notes": [],
        "options": {"tiling": {"patch": 64}},
        "checkpoints": [checkpoint],
        "runs": [run],
        "comparisons": [comparison],
        "skipped": [],
        "environment": Environment(python="3.11", torch="2.6", device="cpu", ranks=1, threads=2),
    }
    return Results(**usual | changes)


FRAMES = [frame("000", 0, 30.0, "border"), frame("000", 1, 34.0), frame("011", 0, 20.1234)]


def test_documented_schema_is_the_true_one() -> None:
    # After a change, raise SCHEMA_VERSION if need be, and:
    # python -m twostagealign.evaluation.results > docs/results.schema.json
    assert json.loads(SCHEMA.read_text()) == Results.model_json_schema()


def test_every_field_is_there_and_described_where_its_name_does_not_say_it_all(tmp_path) -> None:
    write_record(tmp_path / "results.json", results(FRAMES))
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["schema_version"] == 1
    assert set(content) == set(json.loads(SCHEMA.read_text())["required"])
    assert content["runs"][0]["frames"][0]["psnr"] == 30.0
    assert read_results(tmp_path / "results.json") == results(FRAMES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version: found 2, expected 1"),
        ({"runs": None}, "runs: found None, expected a list"),
        ({"surplus": 1}, "surplus: unknown key, expected one of schema_version, dataset"),
    ],
)
def test_files_of_another_schema_are_refused(tmp_path, change, message) -> None:
    path = tmp_path / "results.json"
    content = results(FRAMES).model_dump(mode="json") | change
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=f"^{path}: not results of schema version 1: {message}"):
        read_results(path)


def test_files_that_are_none(tmp_path) -> None:
    with pytest.raises(UserError, match="no such file"):
        read_results(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"schema_version": 1, "da')
    with pytest.raises(UserError, match=r"cut\.json: not results of schema version 1: not JSON"):
        read_results(tmp_path / "cut.json")


def test_numbers_are_finite() -> None:
    with pytest.raises(ValidationError, match="finite"):
        frame("000", 0, float("inf"))


def test_every_clip_counts_alike() -> None:
    mean = summarise_clips([summarise_clip("000", FRAMES[:2]), summarise_clip("011", FRAMES[2:])])
    assert mean.all.psnr == pytest.approx((32 + 20.1234) / 2)
    assert (mean.center.psnr, mean.center.frames) == (pytest.approx((34 + 20.1234) / 2), 2)
    assert (mean.border.psnr, mean.border.frames) == (30, 1)
    assert mean.all.lpips is None
    nothing = summarise_clip("015", [])
    assert (nothing.all.frames, nothing.all.psnr) == (0, None)


def test_table() -> None:
    lines = results_table(results(FRAMES)).splitlines()
    assert lines[0] == "REDS4, net, noise high (shot 0.0064, read 0.02)"
    assert lines[1].split() == [
        "clip",
        "frames",
        "PSNR",
        "(dB)",
        "all",
        "center",
        "border",
        "SSIM",
        "all",
        "center",
        "border",
    ]
    assert lines[2].split() == ["000", "2", "32.000", "34.000", "30.000", "0.64000", "0.68000", "0.60000"]
    assert lines[3].split() == ["011", "1", "20.123", "20.123", "-", "0.40247", "0.40247", "-"]
    assert lines[4].split()[:3] == ["mean", "3", "26.062"]
    assert lines[5].split() == ["paper", "36.06"]
    assert lines[2].index("32.000") == lines[3].index("20.123") == lines[4].index("26.062")
    assert "per frame: matching 0.100 s, network 2.000 s, stitching 0.010 s; peak memory 1.00 GiB; cpu" in lines
    assert "net: TwoStageNet with 12 052 144 parameters, 158.30 GFLOP per tile, feature net with 9 840" in lines
    assert "other against net, noise high: PSNR (dB) +0.123, 95% interval -0.010 to +0.300 (8 frames)" in lines


def test_table_of_a_part_of_the_data_set_says_so_and_is_not_compared_with_the_paper() -> None:
    text = results_table(results(FRAMES, complete=False, notes=["not complete: 2 of 4 clips are missing (015, 020)"]))
    assert "paper" not in text
    assert text.splitlines()[-1] == "note: not complete: 2 of 4 clips are missing (015, 020)"


def test_table_without_ground_truth() -> None:
    assert "  Scene01: 1 restored, no ground truth" in results_table(results([frame("Scene01", 2, None)])).splitlines()


def test_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(frames_csv(results([*FRAMES, frame("x, y", 2, None)])))))
    assert [row["clip"] for row in rows] == ["000", "000", "011", "x, y"]
    assert (float(rows[2]["psnr"]), rows[3]["psnr"], rows[0]["lpips"]) == (20.1234, "", "")
    assert rows[0]["network_seconds"] == "2.0000"


@pytest.mark.parametrize("name", ["=cmd|' /C calc'!A0", "+1", "-1", "@sum(1)", "\t=1", " =1", "＝1", "'quoted", "\n=1"])
def test_names_in_the_csv_are_no_formulas(name) -> None:
    rows = list(csv.DictReader(io.StringIO(frames_csv(results([frame(name, 0, -3.0)])), newline="")))
    assert rows[0]["clip"] == f"'{name}"
    assert rows[0]["psnr"] == "-3.0"  # a number stays one


@pytest.mark.parametrize(("name", "text"), [("a;=1;-2", "a;'=1;'-2"), ('a; "+1', """a;' "+1"""), ("a;b=1", "a;b=1")])
def test_names_split_at_semicolons_are_no_formulas(name, text) -> None:
    """As spreadsheets do where the comma is the decimal mark."""
    rows = list(csv.DictReader(io.StringIO(frames_csv(results([frame(name, 0, 30.0)])))))
    assert rows[0]["clip"] == text
