"""Several processes, started as a user starts them."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from twostagealign.options import load_options
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import join_ranks
from twostagealign.training.build import build_trainer

CODES = Path(__file__).parents[2] / "codes"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(CODES), "OMP_NUM_THREADS": "1"}
ONE_NODE = ["--standalone", "--nproc_per_node=2"]

# Trains with each of the lists of options. After each run, rank 0 says whether all ranks hold the same weights, and
# whether a shared validation finds what one process finds.
COMPARING = """
import json, sys
from pathlib import Path
import torch
from twostagealign.data import NoiseLevel
from twostagealign.runtime.ranks import Ranks, join_ranks
from twostagealign.training.build import build_trainer
from twostagealign.training.validation import Validation
from twostagealign.options import load_options
with join_ranks(required=True) as ranks:
    for options in json.loads(sys.argv[2]):
        trainer = build_trainer(load_options(Path(sys.argv[1]), options), ranks=ranks)
        trainer.run()
        network, noise = trainer.step.average.module.eval(), NoiseLevel("own", 0.01, 0.02)
        validation = Validation(trainer.validation.bursts, noise, network.matcher.search)
        shared, alone = (validation(network, Path("none"), processes) for processes in (ranks, Ranks()))
        weights = ranks.gather([torch.cat([p.detach().flatten() for p in trainer.restorer.parameters()])])
        if ranks.rank == 0:
            weights_equal = all(torch.equal(w, weights[0]) for w in weights)
            print(json.dumps({"weights": [weights_equal, len(weights)], "validation": [shared == alone, len(shared)]}))
"""

COMMON = ["logger:print_every=1", "train:total_iter=3", "datasets:val:length=3", "val:pictures=0"]
COMMON += ["logger:tensorboard=true"]
COMMON += ["train:optimizer={lr: 1e-5, features_lr: 1e-6}"]  # larger steps blow up rounding errors

IDLE = {
    "always": ["matching:search_window=null"],
    "after_a_step": [
        "matching:refine=true",
        "train:losses=[{type: Charbonnier, space: linear}, {type: MatchSupervision, until: 1}]",
    ],
}
"""When the feature net has nothing to learn -> options."""
NETWORKS = {
    "two": [],
    "gcp_net": ["network={type: GCPNet, nf: 8, groups: 4, frames: 3}", "matching:search_window=null"],
}
"""Name of a run with two processes -> options."""


@pytest.fixture(scope="module")
def compared(module_experiment: Path, torchrun_jobs) -> dict[str, dict[str, list]]:
    """Name of a run by two processes, in the experiments beside the options -> what COMPARING says of it."""
    runs = {**NETWORKS, **IDLE}
    lists = [[*COMMON, f"name={name}", "train:batch_size=1", *extra] for name, extra in runs.items()]
    script = module_experiment.with_name("comparing.py")
    script.write_text(COMPARING)
    command = [str(script), str(module_experiment), json.dumps(lists)]
    with torchrun_jobs.Job(command, module_experiment.parent / "logs", ONE_NODE, nodes=1) as job:
        assert job.wait(900) == [0], job.output(0)
    lines = (line for line in job.output(0).splitlines() if line.startswith("{"))
    return dict(zip(runs, map(json.loads, lines), strict=True))


def losses(folder: Path) -> list[float]:
    """As computed: of the five digits in the log, rounding alone may turn the last one."""
    curves = EventAccumulator(str(folder / "tb")).Reload()
    return [event.value for event in curves.Scalars("train/loss")]


def validation(folder: Path) -> list[float]:
    return [float(psnr) for psnr in re.findall(r"validation PSNR ([\d.]+)", (folder / "train.log").read_text())]


@pytest.mark.parametrize("name", NETWORKS)
def test_two_processes_train_as_one_with_the_same_bursts(compared, module_experiment, name) -> None:
    """Weights equal on all ranks; losses and validation those of one process with twice the batch."""
    build_trainer(load_options(module_experiment, [*COMMON, *NETWORKS[name], f"name={name}_one"])).run()
    assert compared[name] == {"weights": [True, 2], "validation": [True, 3]}
    one, two = (module_experiment.parent / "experiments" / name for name in (f"{name}_one", name))
    assert len(losses(one)) == 3
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert validation(two) == pytest.approx(validation(one), abs=0.01)
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    assert (two / "train.log").read_text().count(f"{name}: ") == 1  # only the first process speaks


@pytest.mark.parametrize("when", IDLE)
def test_two_processes_whose_feature_net_is_idle(compared, module_experiment, when) -> None:
    assert compared[when] == {"weights": [True, 2], "validation": [True, 3]}
    assert (module_experiment.parent / "experiments" / when / "training_states" / "3.state").exists()


def test_the_older_launcher_from_the_folder_of_the_program(tiny_experiment, tmp_path, torchrun_jobs) -> None:
    """`cd codes && python -m torch.distributed.launch ... train.py ... --launcher pytorch`."""
    command = [sys.executable, "-m", "torch.distributed.launch", *ONE_NODE, "train.py", "-opt", str(tiny_experiment)]
    command += ["--launcher", "pytorch", "--force_yml", "train:batch_size=1", "train:total_iter=2", "name=launched"]
    with torchrun_jobs.Job([], tmp_path / "logs", nodes=0) as job:
        job.start(command, folder=CODES)
        assert job.wait(900) == [0], job.output(0)
    assert (tmp_path / "experiments" / "launched" / "training_states" / "2.state").exists()


def test_the_launcher_needs_torchrun(tiny_experiment) -> None:
    finished = subprocess.run(
        [sys.executable, str(CODES / "train.py"), "-opt", str(tiny_experiment), "--launcher", "pytorch"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr == (
        "error: --launcher pytorch: found no WORLD_SIZE in the environment, expected a start by torchrun\n"
    )


@pytest.fixture
def failing_job(torchrun_jobs, tmp_path) -> Callable[..., tuple[list[int | None], list[str]]]:
    """Runs a command as two processes; their exit codes and error lines. PyTorch prints lines of its own.

    `restarts` says how often the agent of each process has started it again, of once at most.
    """

    def run(command: list[str], restarts: tuple[int, int] = (0, 0)) -> tuple[list[int | None], list[str]]:
        port = str(torchrun_jobs.free_port())
        with torchrun_jobs.Job([], tmp_path / "logs", nodes=0) as job:
            for rank in range(2):
                addresses = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
                addresses |= {"TORCHELASTIC_MAX_RESTARTS": "1", "TORCHELASTIC_RESTART_COUNT": str(restarts[rank])}
                job.start([sys.executable, *command], **addresses, RANK=str(rank), LOCAL_RANK=str(rank))
            codes = job.wait(600)
        lines = [line for rank in range(2) for line in job.output(rank).splitlines()]
        return codes, [line for line in lines if line.startswith(("error", "Traceback"))]

    return run


@pytest.mark.parametrize("environment", [{"WORLD_SIZE": "2"}, {"WORLD_SIZE": "two"}, {"WORLD_SIZE": ""}])
def test_variables_of_torchrun_that_are_not_complete(monkeypatch, environment) -> None:
    """As some batch systems set WORLD_SIZE alone."""
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"in the environment, expected a number; start several processes by torchrun"):
        join_ranks().__enter__()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--force_yml", "train:total_itr=3"], "train.total_itr: unknown key"),
        (["--lmit", "3"], "unrecognized arguments: --lmit"),
    ],
    ids=["options", "command line"],
)
def test_a_mistake_is_reported_once(failing_job, tiny_experiment, arguments, problem) -> None:
    command = [str(CODES / "train.py"), "-opt", str(tiny_experiment), "--launcher", "pytorch", *arguments]
    codes, lines = failing_job(command)
    assert codes == [2, 2]
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert problem in lines[0]


def test_a_mistake_that_one_process_alone_meets_is_reported(failing_job, tmp_path) -> None:
    """By that process, since the first one does not know of it, and ends because it has lost it."""
    script = tmp_path / "lonely.py"
    script.write_text(
        "import time\n"
        "from twostagealign.cli.run import run\n"
        "from twostagealign.runtime.errors import UserError\n"
        "from twostagealign.runtime.ranks import join_ranks\n"
        "def main():\n"
        "    with join_ranks() as ranks:\n"
        "        if ranks.rank == 1:\n"
        "            raise UserError('7.png: no such file')\n"
        "        time.sleep(300)\n"
        "run(main)\n"
    )
    codes, lines = failing_job([str(script)], restarts=(0, 1))  # rank 0 does not know of the restart by itself
    assert codes == [2, 2]
    assert lines[0].startswith("error: process 0 of 2: another process has ended")
    assert "--max_restarts=1 is spent" in lines[0]
    assert lines[1:] == ["error: 7.png: no such file"]


def test_a_busy_port_is_one_line(tiny_experiment) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        finished = subprocess.run(
            [sys.executable, str(CODES / "train.py"), "-opt", str(tiny_experiment), "--launcher", "pytorch"],
            env=ENVIRONMENT
            | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert finished.returncode == 2
    last = finished.stderr.splitlines()[-1]
    assert last.startswith(f"error: 127.0.0.1:{port}: process 0 of 2 cannot join the others")
    assert "Traceback" not in finished.stderr
