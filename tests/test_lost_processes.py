"""A job that has lost a process goes on, or ends with one line on each node."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

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


@pytest.mark.parametrize("ranks", [(0,), (1,)], ids=str)
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


def test_no_restart_is_left(torchrun_jobs, start, trains, tiny_experiment) -> None:
    with start(training(tiny_experiment, "spent"), "--max_restarts=0") as job:
        trains("spent")
        torchrun_jobs.kill(job.workers()[1])
        assert job.wait(WAIT) == [1, 1]
        (line,) = errors(job.output(0)) + errors(job.output(1))
    assert "another process has ended" in line
    assert "no --max_restarts is given, so start again with --auto_resume" in line


@pytest.mark.parametrize("workers", [True, False], ids=["with its workers", "alone"])
def test_an_agent_that_is_started_again(
    torchrun_jobs, start, trains, tiny_experiment, check_weights, monkeypatch, workers
) -> None:
    """As after a node was off. A worker that has lost its agent alone trains on until its peer is started again."""
    monkeypatch.setenv("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "1")
    with start([*training(tiny_experiment, "back"), "--auto_resume"], "--max_restarts=3") as job:
        trains("back")
        if workers:
            job.lose_agent(1)
        else:
            torchrun_jobs.kill(job.agents[1].pid)
        job.start_agent()
        assert job.wait(PATIENCE) == [0, -9, 0], job.output(0)
    check_weights("back")
