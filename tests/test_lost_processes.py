"""A job that has lost a process goes on, or ends with one line on each node."""

import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from twostagealign.data import bundled_picture, write_picture
from twostagealign.evaluation.results import read_results
from twostagealign.models.checkpoint import load_torch_file

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of a job in /proc"),
]

CODES = Path(__file__).parents[1] / "codes"
ITERATIONS = 30
OPTIONS = ["train:batch_size=1", f"train:total_iter={ITERATIONS}", "logger:checkpoint_every=4", "val:every=1000"]
WAIT = 120
"""Seconds within which a job that cannot go on has to end."""
PATIENCE = 900
"""Seconds for everything else, since the machine may be busy."""


def training(experiment: Path, name: str) -> list[str]:
    """Command that trains an experiment of this name."""
    options = ["-opt", str(experiment), "--launcher", "pytorch", "--force_yml", f"name={name}", *OPTIONS]
    return [str(CODES / "train.py"), *options]


def experiments(experiment: Path) -> Path:
    return experiment.parent / "experiments"


def errors(output: str) -> list[str]:
    """Lines that the processes of one node have printed on an error; torchrun's own begin in other ways."""
    return [line for line in output.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def weights(torchrun_jobs, module_experiment) -> dict[str, torch.Tensor]:
    """Weights of a job that nobody disturbed."""
    with torchrun_jobs.Job(training(module_experiment, "undisturbed"), module_experiment.parent / "logs") as job:
        assert job.wait(PATIENCE) == [0, 0], job.output(0)
    path = experiments(module_experiment) / "undisturbed" / "training_states" / f"{ITERATIONS}.state"
    return load_torch_file(path)["model"]


@pytest.fixture
def check_weights(weights, tiny_experiment) -> Callable[[str], None]:
    """Compares the weights of an experiment of this name with those of the undisturbed one."""

    def check(name: str) -> None:
        path = experiments(tiny_experiment) / name / "training_states" / f"{ITERATIONS}.state"
        found = load_torch_file(path)["model"]
        assert [key for key in weights if not torch.equal(found[key], weights[key])] == []

    return check


@pytest.fixture
def trains(torchrun_jobs, tiny_experiment) -> Callable[[str], None]:
    """Waits until the training of this name has written checkpoints."""

    def wait(name: str) -> None:
        state = experiments(tiny_experiment) / name / "training_states" / "8.state"
        assert torchrun_jobs.wait_for(state.exists, PATIENCE)

    return wait


@pytest.fixture
def start(torchrun_jobs, tmp_path):
    """Makes a job: its command, options of torchrun, number of nodes."""

    def make(command: list[str], *options: str, nodes: int = 2):
        return torchrun_jobs.Job(command, tmp_path / "logs", options, nodes)

    return make


@pytest.mark.parametrize("ranks", [(0,), (1,), (0, 1)], ids=str)
def test_killed_processes(torchrun_jobs, start, trains, tiny_experiment, check_weights, ranks) -> None:
    with start(training(tiny_experiment, "killed"), "--max_restarts=3") as job:
        trains("killed")
        workers = job.workers()
        for rank in ranks:
            torchrun_jobs.kill(workers[rank])
        assert job.wait(PATIENCE) == [0, 0], job.output(0)
    check_weights("killed")
    log = (experiments(tiny_experiment) / "killed" / "train.log").read_text()
    assert log.count("from iteration") == 2


def test_a_process_killed_before_training_begins(torchrun_jobs, start, tiny_experiment, check_weights) -> None:
    with start(training(tiny_experiment, "early"), "--max_restarts=3") as job:
        assert torchrun_jobs.wait_for(lambda: len(job.workers()) == 2, PATIENCE)
        torchrun_jobs.kill(job.workers()[1])
        assert job.wait(PATIENCE) == [0, 0], job.output(0)
    check_weights("early")
    assert [path.name for path in experiments(tiny_experiment).iterdir()] == ["early"]


FAILING = """
import os
from pathlib import Path
from twostagealign.data import StillsInMotion

class Failing(StillsInMotion):
    calls = 0

    def __getitem__(self, index):
        self.calls += 1
        has_failed = Path(__file__).with_name("has_failed")
        if os.environ["RANK"] == "1" and self.calls > 10 and not has_failed.exists():
            has_failed.touch()
            raise ZeroDivisionError("once")
        return super().__getitem__(index)
"""


def test_an_exception_in_one_process(start, tiny_experiment, check_weights, monkeypatch) -> None:
    tiny_experiment.with_name("failing.py").write_text(FAILING)
    monkeypatch.setenv("PYTHONPATH", str(tiny_experiment.parent), prepend=os.pathsep)
    command = [*training(tiny_experiment, "raised"), "datasets:train:type=failing.Failing"]
    with start(command, "--max_restarts=1") as job:
        assert job.wait(PATIENCE) == [0, 0], job.output(0)
    check_weights("raised")
    output = job.output(0) + job.output(1)
    assert output.count("ZeroDivisionError: once") == 1
    (line,) = errors(output)
    assert "another process has ended" in line


def test_the_older_launcher(torchrun_jobs, start, trains, tiny_experiment, check_weights) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.launch", "--standalone", "--nproc_per_node=2"]
    with start([], nodes=0) as job:
        job.start([*launcher, "--max_restarts=1", *training(tiny_experiment, "launched")])
        trains("launched")
        torchrun_jobs.kill(job.workers()[1])
        assert job.wait(PATIENCE) == [0], job.output(0)
    check_weights("launched")


def fill_disk(*processes: int) -> None:
    """Let these processes, and those that they start, write small files only, as log files are.

    A limit on the size of files stands for the full disk: writing fails in the same place.
    """
    for process in processes:
        _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (50_000, hard))


def written_in_vain(job) -> list[str]:
    """Lines on files that could not be written."""
    lines = errors(job.output(0)) + errors(job.output(1))
    return [line for line in lines if "cannot be written" in line and "File too large" in line]


def test_a_disk_that_is_full_for_a_while(start, trains, tiny_experiment, check_weights) -> None:
    with start(training(tiny_experiment, "full"), "--max_restarts=1") as job:
        trains("full")
        fill_disk(job.workers()[0])
        assert job.wait(PATIENCE) == [0, 0], job.output(0)
    check_weights("full")
    assert len(written_in_vain(job)) == 1


def test_a_disk_that_stays_full(torchrun_jobs, start, trains, tiny_experiment) -> None:
    with start(training(tiny_experiment, "full"), "--max_restarts=1") as job:
        trains("full")
        fill_disk(*(agent.pid for agent in job.agents), *job.workers().values())
        assert torchrun_jobs.wait_for(lambda: any(agent.poll() is not None for agent in job.agents), PATIENCE)
        assert job.wait(WAIT) == [1, 1]
    assert len(written_in_vain(job)) == 2
    lines = errors(job.output(0) + job.output(1))
    assert sum("torchrun can start the job again (1 of --max_restarts=1 left)" in line for line in lines) <= 1
    assert sum("--max_restarts=1 is spent, so start again with --auto_resume" in line for line in lines) == 1


def test_no_restart_is_left(torchrun_jobs, start, trains, tiny_experiment) -> None:
    with start(training(tiny_experiment, "spent"), "--max_restarts=0") as job:
        trains("spent")
        torchrun_jobs.kill(job.workers()[1])
        assert job.wait(WAIT) == [1, 1]
        (line,) = errors(job.output(0)) + errors(job.output(1))
    assert "another process has ended" in line
    assert "no --max_restarts is given, so start again with --auto_resume" in line


SLOW = """
import time
from pathlib import Path
from twostagealign.data import StillsInMotion

class Slow(StillsInMotion):
    calls = 0

    def __getitem__(self, index):
        self.calls += 1
        if self.calls > 10 and not Path(__file__).with_name("go").exists():
            time.sleep(2)
        return super().__getitem__(index)
"""


@pytest.mark.parametrize("workers", [True, False], ids=["with its workers", "alone"])
def test_an_agent_that_is_started_again(
    torchrun_jobs, start, trains, tiny_experiment, check_weights, monkeypatch, workers
) -> None:
    """As after a node was off. A worker that has lost its agent alone trains on until its peer is started again."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    tiny_experiment.with_name("slow.py").write_text(SLOW)  # it must not end before the agent is back
    monkeypatch.setenv("PYTHONPATH", str(tiny_experiment.parent), prepend=os.pathsep)
    command, log = training(tiny_experiment, "back"), experiments(tiny_experiment) / "back" / "train.log"
    with start([*command, "datasets:train:type=slow.Slow", "--auto_resume"], "--max_restarts=3") as job:
        trains("back")
        if workers:
            job.lose_agent(1)
        else:
            torchrun_jobs.kill(job.agents[1].pid)
        job.start_agent()
        assert torchrun_jobs.wait_for(lambda: log.read_text().count("from iteration") == 2, PATIENCE)
        tiny_experiment.with_name("go").touch()
        assert job.wait(PATIENCE) == [0, -9, 0], job.output(0)
    check_weights("back")


def test_the_agent_that_keeps_the_store_is_lost(start, trains, tiny_experiment) -> None:
    with start(training(tiny_experiment, "store"), "--max_restarts=3") as job:
        trains("store")
        job.lose_agent(0)
        assert job.wait(WAIT) == [-9, 1]
        (line,) = errors(job.output(1))
    assert "another process has ended" in line


FRAMES = 24


@pytest.fixture
def evaluation(tmp_path, tiny_checkpoint) -> list[str]:
    """Command that evaluates a checkpoint on a clip of FRAMES frames, which takes some seconds."""
    clip, picture = tmp_path / "data" / "clip", bundled_picture("chelsea")
    clip.mkdir(parents=True)
    for k in range(FRAMES):
        write_picture(clip / f"{k:03d}.png", picture[100 + k : 196 + k, 150 + k : 278 + k])
    command = [str(CODES / "test_REDS4.py"), "--data", str(clip.parent), "--checkpoint", str(tiny_checkpoint)]
    command += ["--results", str(tmp_path / "results"), "--name", "evaluated", "--device", "cpu"]
    tiling = "tiling={patch: 16, halo: 4, search_window: 16}"
    return [*command, "--force_yml", "frames=3", "clips=null", "paper=null", tiling]


@pytest.fixture
def kill_one(torchrun_jobs, tmp_path) -> Callable[..., dict[Path, int]]:
    """Kills a process of an evaluation when it has finished frames; returns their records, with their times."""

    def kill(job) -> dict[Path, int]:
        folder = tmp_path / "results" / "evaluated" / "frames"
        assert torchrun_jobs.wait_for(lambda: len([*folder.rglob("*.json")]) >= 4, PATIENCE), job.output(0)
        torchrun_jobs.kill(job.workers()[1])
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*.json")}

    return kill


def check_evaluation(folder: Path, kept: dict[Path, int]) -> None:
    """All frames are there, and those that were finished before were not restored again."""
    assert len(read_results(folder / "results.json").runs[0].frames) == FRAMES
    assert 4 <= len(kept) < FRAMES
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_an_evaluation_that_is_started_again(start, evaluation, kill_one, tmp_path) -> None:
    with start(evaluation, "--max_restarts=1") as job:
        kept = kill_one(job)
        assert job.wait(PATIENCE) == [0, 0], job.output(0)
    check_evaluation(tmp_path / "results" / "evaluated", kept)


def test_an_evaluation_that_is_resumed(start, evaluation, kill_one, tmp_path) -> None:
    with start(evaluation) as job:
        kept = kill_one(job)
        assert job.wait(WAIT) == [1, 1]
        (line,) = errors(job.output(0) + job.output(1))
        assert "start again with --auto_resume (training) or --resume (evaluation)" in line
    with start([*evaluation, "--resume"], nodes=1) as job:
        assert job.wait(PATIENCE) == [0], job.output(0)
    check_evaluation(tmp_path / "results" / "evaluated", kept)
