"""Several processes, started as a user starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from twostagealign.engine.checkpoint import load_torch_file
from twostagealign.engine.training.trainer import Trainer
from twostagealign.options import load_options

CODES = Path(__file__).parents[3] / "codes"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(CODES), "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
LAUNCH = [sys.executable, "-m", "torch.distributed.launch"]

# Trains; then rank 0 says whether all ranks hold the same weights, and whether a shared validation finds what one
# process finds.
COMPARING = """
import sys
from pathlib import Path
import torch
from twostagealign.engine.ranks import Ranks, join_ranks
from twostagealign.engine.tiling import Tiling
from twostagealign.engine.training.trainer import Trainer
from twostagealign.engine.training.validation import validate
from twostagealign.options import load_options
with join_ranks(required=True) as ranks:
    trainer = Trainer(load_options(Path(sys.argv[1]), sys.argv[2:]), ranks=ranks)
    trainer.run()
    arguments = (trainer.ema.module.eval(), trainer.val_set, (0.01, 0.02), Tiling(search_window=16), Path("none"), 0)
    shared, alone = (validate(*arguments, processes, lambda: False) for processes in (ranks, Ranks()))
    weights = ranks.gather([torch.cat([p.detach().flatten() for p in trainer.restorer.parameters()])])
    if ranks.rank == 0:
        print("EQUAL" if all(torch.equal(w, weights[0]) for w in weights) else "DIFFERENT", len(weights))
        print("EQUAL" if shared == alone else "DIFFERENT", len(shared))
"""


def losses(folder: Path) -> list[float]:
    """As computed: of the five digits in the log, rounding alone may turn the last one."""
    curves = EventAccumulator(str(folder / "tb")).Reload()
    return [event.value for event in curves.Scalars("train/loss")]


def validation(folder: Path) -> list[float]:
    return [float(psnr) for psnr in re.findall(r"validation PSNR ([\d.]+)", (folder / "train.log").read_text())]


def test_two_processes_train_as_one_with_the_same_bursts(tiny_experiment, tmp_path) -> None:
    """Weights equal on all ranks; losses and validation those of one process with twice the batch."""
    common = ["logger:print_every=1", "train:total_iter=3", "datasets:val:length=3", "val:pictures=0"]
    common += ["logger:tensorboard=true"]
    common += ["train:optimizer={lr: 1e-4, features_lr: 1e-5}"]  # the usual ones: larger steps blow up rounding errors
    Trainer(load_options(tiny_experiment, [*common, "name=one"])).run()
    (tmp_path / "comparing.py").write_text(COMPARING)
    run = [*TORCHRUN, "--standalone", "--nproc_per_node=2", str(tmp_path / "comparing.py"), str(tiny_experiment)]
    finished = subprocess.run(
        [*run, *common, "name=two", "train:batch_size=1"], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.split() == ["EQUAL", "2", "EQUAL", "3"]
    one, two = (tmp_path / "experiments" / name for name in ("one", "two"))
    assert len(losses(one)) == 3
    assert losses(two) == pytest.approx(losses(one), rel=1e-5)
    assert validation(two) == pytest.approx(validation(one), abs=0.01)
    assert json.loads((two / "environment.json").read_text())["processes"] == 2
    assert (two / "train.log").read_text().count("two: ") == 1  # only the first process speaks


@pytest.mark.parametrize(
    "extra",
    [
        ["matching:search_window=16"],
        ["matching:search_window=null"],
        ["matching:refine=true", "train:losses={one_hot: 0, match_supervision: {until: 1}}"],
    ],
    ids=["both stages", "stage two, the feature net idle", "the feature net idle after a step"],
)
def test_the_older_launcher_from_the_folder_of_the_program(tiny_experiment, tmp_path, extra) -> None:
    """`cd codes && python -m torch.distributed.launch ... train.py ... --launcher pytorch`."""
    command = [*LAUNCH, "--standalone", "--nproc_per_node=2", "train.py", "-opt", str(tiny_experiment)]
    options = ["--launcher", "pytorch", "--force_yml", "train:batch_size=1", "train:total_iter=2", "name=launched"]
    finished = subprocess.run(
        [*command, *options, *extra], cwd=CODES, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "experiments" / "launched" / "training_states" / "2.state").exists()


@pytest.mark.slow
def test_two_nodes_go_on_after_a_worker_was_killed(tiny_experiment, tmp_path) -> None:
    """Two agents that meet by c10d on the loopback; the job starts again by itself from the last checkpoint."""
    options = ["train:batch_size=1", "train:total_iter=40", "logger:checkpoint_every=4", "val:every=1000"]
    experiments = tmp_path / "experiments"

    def start(name: str, port: int) -> list[subprocess.Popen]:
        agent = [*TORCHRUN, "--nnodes=2", "--nproc_per_node=1", "--max_restarts=3", "--rdzv_backend=c10d"]
        agent += [f"--rdzv_endpoint=127.0.0.1:{port}", f"--rdzv_id={name}", str(CODES / "train.py")]
        agent += ["-opt", str(tiny_experiment), "--launcher", "pytorch", "--force_yml", f"name={name}", *options]
        return [subprocess.Popen(agent, env=ENVIRONMENT, stderr=subprocess.DEVNULL) for _ in range(2)]

    def wait(agents: list[subprocess.Popen]) -> None:
        for agent in agents:
            assert agent.wait(timeout=300) == 0

    wait(start("undisturbed", 29613))
    agents = start("disturbed", 29614)
    states = experiments / "disturbed" / "training_states"
    deadline = time.monotonic() + 120
    while not (states / "8.state").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (worker, *_) = map(int, Path(f"/proc/{agents[1].pid}/task/{agents[1].pid}/children").read_text().split())
    os.kill(worker, signal.SIGKILL)
    wait(agents)
    log = (experiments / "disturbed" / "train.log").read_text()
    assert len(re.findall(r"from iteration \d", log)) == 2
    found, expected = (
        load_torch_file(experiments / name / "training_states" / "40.state") for name in ("disturbed", "undisturbed")
    )
    for name, tensor in expected["model"].items():
        assert torch.equal(found["model"][name], tensor), name


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
