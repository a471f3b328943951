import os
import runpy
import sys
from pathlib import Path

import pytest

from twostagealign.data import open_clips
from twostagealign.studies.benchmarks import data as benchmark

SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.fixture
def script(monkeypatch, capfd):
    """Runs a script as `python scripts/NAME.py ARGUMENTS` does; exit code, stdout, stderr."""

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
        return end.value.code or 0, *capfd.readouterr()

    return call


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    benchmark.make_clips(folder, count=2, frames=6, height=40, width=60)
    return folder


def test_create_lmdb(script, clips, tmp_path):
    path = tmp_path / "clips.lmdb"
    for _ in range(2):  # the second time, there is nothing to do
        assert script("create_lmdb", "--input", clips, "--output", path, "--compression", "png")[:2] == (
            0, f"{path}: complete, 2 clips, 12 frames of 60x40 pixels, compression png\n"
        )  # fmt: skip
    code, out, err = script("create_lmdb", "--output", path, "--verify")
    assert (code, out) == (0, f"{path}: intact, 2 clips, 12 frames of 60x40 pixels, compression png\n")
    assert "12/12" in err
    assert "frame/s" in err
    assert open_clips(path).clips == {"000": 6, "001": 6}


def test_create_lmdb_errors(script, clips, tmp_path):
    path = tmp_path / "clips.lmdb"
    for arguments, words in (
        (["--output", path], "error: --input: missing"),
        (["--output", path, "--verify"], f"error: {path}: found no meta_info.json"),
        (["--input", tmp_path / "none", "--output", path], "none: no such folder"),
    ):
        code, out, err = script("create_lmdb", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert words in err
    script("create_lmdb", "--input", clips, "--output", path)
    os.truncate(path / "data.mdb", 20_000)
    code, out, err = script("create_lmdb", "--output", path, "--verify")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "data.mdb: truncated" in err


@pytest.mark.parametrize("mode", ["link", "copy"])
def test_regroup_reds(script, clips, tmp_path, mode):
    train = tmp_path / "REDS/train"
    train.mkdir(parents=True)
    benchmark.make_clips(train, count=1, frames=6, height=40, width=60)
    (train / ".241.part").mkdir()  # what an interrupted run may leave behind
    for _ in range(2):
        code, out, _ = script("regroup_reds", "--train", train, "--val", clips, "--mode", mode)
        assert (code, out) == (0, f"{train}: holds 2 clips of {clips} as 240 to 241\n")
    assert sorted(path.name for path in train.iterdir() if path.name[0] != ".") == ["000", "240", "241"]
    for clip in ("240", "241"):
        assert (train / clip).is_symlink() == (mode == "link")
    source, original = open_clips(train), open_clips(clips)
    assert source.clips == {"000": 6, "240": 6, "241": 6}
    assert (source.read("241", 4) == original.read("001", 4)).all()
    if mode == "link":
        assert not Path(os.readlink(train / "240")).is_absolute()


def test_regroup_reds_errors(script, clips, tmp_path):
    train = tmp_path / "train"
    code, _, err = script("regroup_reds", "--train", train, "--val", clips)
    assert (code, err) == (2, f"error: {train}: no such folder, expected one of clip folders\n")
    (train / "241").mkdir(parents=True)
    code, _, err = script("regroup_reds", "--train", train, "--val", clips)
    assert (code, err) == (2, f"error: {train}/241: found another clip there, expected none or that of {clips}/001\n")
    assert not (train / "240").exists()
    (clips / "001").rename(clips / "first")
    code, _, err = script("regroup_reds", "--train", train, "--val", clips)
    assert code == 2
    assert "first: found no clip number" in err


def test_benchmark_of_stores(clips):
    results = list(benchmark.benchmark_stores(clips, seconds=0.01))
    assert [result.unit for result in results] == ["frames/s"] * 3 + ["MB/frame"] * 4 + ["bursts/s"] * 4
    assert all(result.value > 0 for result in results)
