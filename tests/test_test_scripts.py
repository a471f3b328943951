"""The three test scripts as they are called, and the scripts that make data for them."""

import json
import runpy
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from twostagealign.cli.evaluation import read_request
from twostagealign.data import bundled_picture, list_pictures, read_picture, write_picture
from twostagealign.evaluation import candidates
from twostagealign.evaluation.results import Results, read_results

REPOSITORY = Path(__file__).parents[1]
SMALL = ["--force_yml", "frames=3", "clips=null", "paper=null", "tiling={patch: 16, halo: 4, search_window: 16}"]


@pytest.fixture(autouse=True)
def flops_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "count_flops", lambda *args: 123_000_000)


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    picture = bundled_picture("chelsea")
    for clip, count in (("x", 5), ("y", 4)):
        (tmp_path / "data" / clip).mkdir(parents=True)
        for k in range(count):
            write_picture(tmp_path / "data" / clip / f"{k:03d}.png", picture[100 + k : 136 + k, 150 + k : 190 + k])
    return tmp_path / "data"


def call(script: str, *arguments: object) -> int:
    """Run a script in this process; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", [script, *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(REPOSITORY / script), run_name="__main__")
    return caught.value.code or 0


def measures(results: Results) -> list[tuple]:
    return [(x.clip, x.frame, round(x.psnr, 3), round(x.ssim, 5)) for x in results.runs[0].frames]


def test_two_processes_find_what_one_finds(
    tmp_path, clips, tiny_checkpoint, capsys, monkeypatch, torchrun_jobs
) -> None:
    script = "codes/test_REDS4.py"
    common = ["--data", str(clips), "--checkpoint", str(tiny_checkpoint), "--device", "cpu", *SMALL]
    assert call(script, *common, "--results", tmp_path / "one") == 0
    alone = capsys.readouterr().out

    # As torchrun starts them; this process is rank 0.
    port = str(torchrun_jobs.free_port())
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    common += ["--results", str(tmp_path / "two")]
    for name, value in (group | {"RANK": "0", "LOCAL_RANK": "0"}).items():
        monkeypatch.setenv(name, value)
    with torchrun_jobs.Job([], tmp_path / "logs", nodes=0) as job:
        other = [sys.executable, str(REPOSITORY / script), *common, "--workers", "0"]
        job.start(other, RANK="1", LOCAL_RANK="1")
        assert call(script, *common) == 0
        assert job.wait(600) == [0]
    assert job.output(0) == ""  # rank 0 alone speaks

    one, two = (read_results(tmp_path / name / "REDS4_tiny_high/results.json") for name in ("one", "two"))
    assert (one.environment.ranks, two.environment.ranks) == (1, 2)
    assert len(measures(one)) == 9
    assert measures(two) == measures(one)
    table = alone[: alone.index("per frame")]
    assert table.startswith("REDS4, tiny, noise high (shot 0.0064, read 0.02)\n")
    assert capsys.readouterr().out.startswith(table)


@pytest.mark.slow
def test_torchrun(tmp_path, clips, tiny_checkpoint, torchrun_jobs) -> None:
    command = [str(REPOSITORY / "codes/test_REDS4.py"), "--data", str(clips), "--checkpoint", str(tiny_checkpoint)]
    command += ["--results", str(tmp_path / "results"), *SMALL]
    options = ["--standalone", "--nproc_per_node=2"]
    with torchrun_jobs.Job(command, tmp_path / "logs", options, nodes=1) as job:
        assert job.wait(900) == [0], job.output(0)
    assert job.output(0).count("REDS4, tiny, noise high") == 1
    results = read_results(tmp_path / "results/REDS4_tiny_high/results.json")
    assert (results.environment.ranks, len(measures(results))) == (2, 9)


def test_scene_from_a_clip(tmp_path, clips, tiny_checkpoint, capsys) -> None:
    assert call("scripts/make_sc_burst.py", "--input", clips / "x", "--output", tmp_path / "sc/Scene01") == 0
    common = ["--data", tmp_path / "sc", "--checkpoint", tiny_checkpoint, "--results", tmp_path, "--device", "cpu"]
    tiling = "tiling={patch: 16, halo: 4, search_window: 16}"
    assert call("codes/test_SC_burst.py", *common, "--force_yml", tiling) == 0
    (frame,) = read_results(tmp_path / "SC_burst_tiny/results.json").runs[0].frames
    restored = read_picture(tmp_path / "SC_burst_tiny" / frame.pictures.restored)
    assert restored.shape == (36, 40, 3)
    assert "Scene01: 1 restored, no ground truth" in capsys.readouterr().out


def test_clip_like_uhd_ones(tmp_path, tiny_checkpoint) -> None:
    clip = tmp_path / "data/wall"
    assert call("scripts/make_uhd_clip.py", "--output", clip, "--width", 96, "--height", 54, "--frames", 3) == 0
    frames = [read_picture(path).astype(int) for path in list_pictures(clip)]
    assert [frame.shape for frame in frames] == [(54, 96, 3)] * 3
    assert min(np.abs(a - b).mean() for a, b in pairwise(frames)) > 5  # it moves
    common = ["--data", clip.parent, "--checkpoint", tiny_checkpoint, "--results", tmp_path, "--device", "cpu"]
    assert call("codes/test_Videezy4K.py", *common, *SMALL, "--limit", 1, "--noise", "low") == 0
    content = json.loads((tmp_path / "Videezy4K_tiny_low/results.json").read_text())
    assert content["notes"] == ["not complete: at most 1 frames of each clip were evaluated (--limit)"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "none"], "error: none: no such folder, expected one with a folder of pictures per clip"),
        (["--noise", "loud"], "error: --noise: found 'loud', expected high, low, both or SHOT,READ, two numbers in"),
        (["--clips", "z"], "error: --clips: found 'z', expected some of x, y"),
        (["--checkpoint", "none.pth"], "error: none.pth: no such file"),
        (["--compare", "tiny", "none"], "error: none: no such file, and none of the shipped checkpoints: "),
        (["--force_yml", "frames=5", "clips=null"], "/y: found 4 frames, expected at least 5, a burst"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(tmp_path, clips, tiny_checkpoint, capsys, arguments, message) -> None:
    common = ["--data", clips, "--checkpoint", tiny_checkpoint, "--results", tmp_path / "results", "--device", "cpu"]
    assert call("codes/test_REDS4.py", *common, *SMALL, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("arguments", [["--data", "tests/data"], ["--force_yml", "data=tests/data"]])
def test_data_folders_are_found_from_the_repository_s_root(monkeypatch, arguments) -> None:
    monkeypatch.chdir(REPOSITORY / "codes")
    monkeypatch.setattr("sys.argv", ["test_REDS4.py", *arguments])
    request = read_request("", Path("options/test/REDS4.yml"))
    assert request.data.resolve() == REPOSITORY / "tests" / "data"
