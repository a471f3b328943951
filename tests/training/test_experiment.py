import hashlib
import logging
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

from twostagealign.models.checkpoint import load_weights
from twostagealign.runtime.errors import UserError
from twostagealign.training import experiment
from twostagealign.training.experiment import Experiment


def files(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def message_of(function, *arguments, **keywords) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def opened(root: Path, keep: bool = False, **arguments) -> Experiment:
    run = Experiment(root, "trial", **arguments)
    run.open(keep)
    return run


def state(iteration: int, **changes) -> dict:
    """Training state with one weight; its groups and moments are as those of Adam."""
    weights = {"a": torch.full((2,), float(iteration))}
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2), "exp_avg_sq": torch.zeros(2)}
    counts = dict.fromkeys(("bursts", "validated", "skipped", "skipped_in_a_row", "ema_updates"), 0)
    return counts | {
        "iteration": iteration,
        "best_psnr": -math.inf,
        "model": weights,
        "ema": weights,
        "optimizer": {"state": {0: moments}, "param_groups": [{"name": "network", "params": [0], "lr": 1e-4}]},
        "scaler": {},
        "metadata": {},
        **changes,
    }


def save(run: Experiment, iteration: int) -> None:
    content = state(iteration)
    run.save(iteration, content["model"], {"network": {"type": "N"}}, content)


SAVED_AT_2 = {
    "models/net_2.safetensors",
    "models/net_latest.safetensors",
    "training_states/2.state",
    "training_states/2.state.sha256",
}


def test_save_writes_weights_and_state_by_iteration(tmp_path) -> None:
    run = opened(tmp_path / "deep" / "root")
    assert run.newest_state() == (None, None, [])
    save(run, 2)
    assert files(tmp_path / "deep" / "root" / "trial") == SAVED_AT_2
    save(run, 4)
    assert files(run.folder) == SAVED_AT_2 | {name.replace("2.s", "4.s") for name in SAVED_AT_2}
    for label, value in ((2, 2), (4, 4), ("latest", 4)):
        weights, metadata = load_weights(run.models / f"net_{label}.safetensors")
        assert (weights["a"] == value).all()
        assert metadata == {"network": {"type": "N"}, "iteration": value}
    found, path, problems = run.newest_state()
    assert (found.iteration, path, problems) == (4, run.states / "4.state", [])


def test_the_checksum_is_one_that_sha256sum_checks(tmp_path) -> None:
    run = opened(tmp_path)
    save(run, 2)
    digest = hashlib.sha256((run.states / "2.state").read_bytes()).hexdigest()
    assert (run.states / "2.state.sha256").read_text() == f"{digest}  2.state\n"


def test_the_newest_checkpoints_are_kept_and_the_best(tmp_path) -> None:
    run = opened(tmp_path, checkpoints=2)
    run.save_best(1, {"a": torch.ones(2)}, {"psnr": 30.5})
    for iteration in (2, 8, 9, 10):
        save(run, iteration)
    assert {path.name for path in run.models.iterdir()} == {
        f"net_{label}.safetensors" for label in (9, 10, "latest", "best")
    }
    assert {path.name for path in run.states.iterdir()} == {
        f"{iteration}.state{end}" for iteration in (9, 10) for end in ("", ".sha256")
    }
    weights, metadata = load_weights(run.models / "net_best.safetensors")
    assert (weights["a"] == 1).all()
    assert metadata == {"psnr": 30.5, "iteration": 1}


def damage_by_a_bit(path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_by_a_bit, "4.state: damaged ("),
        (lambda path: path.write_bytes(path.read_bytes()[:100]), "4.state: damaged (100 bytes): differs"),
        (lambda path: path.write_bytes(b""), "4.state: damaged (0 bytes): differs"),
        (
            lambda path: path.with_name("4.state.sha256").unlink(),
            "4.state: 4.state.sha256, its checksum, is missing or empty",
        ),
    ],
)
def test_instead_of_a_damaged_state_the_one_before_it_is_used(tmp_path, damage, message) -> None:
    run = opened(tmp_path)
    save(run, 2)
    save(run, 4)
    damage(run.states / "4.state")
    found, path, (problem,) = run.newest_state()
    assert (found.iteration, path.name) == (2, "2.state")
    assert problem.startswith(f"{run.states}/{message}")


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_instead_of_what_is_no_file_the_state_before_it_is_used(tmp_path, make) -> None:
    run = opened(tmp_path)
    save(run, 2)
    save(run, 3)
    path = run.states / "3.state"
    path.unlink()
    make(path)
    state, _, (problem,) = run.newest_state()
    assert state.iteration == 2
    assert problem.startswith(f"{path}: is a ")


def test_all_states_damaged(tmp_path) -> None:
    run = opened(tmp_path)
    save(run, 2)
    damage_by_a_bit(run.states / "2.state")
    message = message_of(run.newest_state)
    assert message.startswith(f"{run.states}/2.state: damaged")
    assert message.endswith("there is no older training state to go on from")


@pytest.mark.parametrize("failing", [1, 2, 3, 4, 5])
def test_stopped_anywhere_in_saving_the_newest_state_and_its_weights_are_whole(tmp_path, monkeypatch, failing) -> None:
    run = opened(tmp_path)
    save(run, 2)
    replacements, original = [], Path.replace

    def stop(temporary, path):
        replacements.append(path)
        if len(replacements) == failing:
            raise KeyboardInterrupt
        return original(temporary, path)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        save(run, 4)
    monkeypatch.undo()
    found, _, problems = run.newest_state()
    assert (found.iteration, problems) == (2, [])
    for iteration in run.saved_iterations():  # no state without its weights
        assert (load_weights(run.models / f"net_{iteration}.safetensors")[0]["a"] == iteration).all()
    assert not list(run.folder.rglob("*.part"))


def test_what_a_killed_writer_left_is_removed(tmp_path) -> None:
    run = opened(tmp_path)
    (run.states / ".4.state.123.part").write_bytes(b"half")
    opened(tmp_path, keep=True)
    assert list(run.states.iterdir()) == []


def test_a_full_disk_leaves_the_old_checkpoint_whole(tmp_path) -> None:
    """A limit on the size of files stands for the full disk: writing fails in the same place."""
    program = f"""
        import resource
        from pathlib import Path
        import torch
        from twostagealign.cli.run import run
        from twostagealign.training.experiment import Experiment
        trial = Experiment(Path({str(tmp_path)!r}), "trial")
        trial.open(keep=False)
        def save(iteration, size):
            weights = {{"a": torch.zeros(size)}}
            empty = {{"state": {{}}, "param_groups": []}}
            counts = dict.fromkeys(("bursts", "validated", "skipped", "skipped_in_a_row", "ema_updates"), 0)
            state = {{"model": weights, "ema": weights, "optimizer": empty, "scaler": {{}}, "best_psnr": 0.0, **counts}}
            trial.save(iteration, weights, {{}}, state | {{"iteration": iteration}})
        def main():
            save(2, 2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
            save(4, 100_000)
        run(main)
    """
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 2, finished.stderr
    (line,) = finished.stderr.splitlines()
    assert line.startswith(f"error: {tmp_path}/trial/models/net_4.safetensors: cannot be written (")
    run = opened(tmp_path, keep=True)
    assert files(run.folder) == SAVED_AT_2
    assert run.newest_state()[0].iteration == 2


def test_an_existing_folder_is_archived_not_overwritten(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(experiment.time, "strftime", lambda form: "20300102_030405")  # three starts in one second
    for iteration in (2, 4, 6):
        save(opened(tmp_path), iteration)
    archived = ["trial", "trial_archived_20300102_030405", "trial_archived_20300102_030405_2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == archived
    for name, iteration in zip(archived, (6, 2, 4), strict=True):
        assert (load_weights(tmp_path / name / "models" / "net_latest.safetensors")[0]["a"] == iteration).all()


def test_an_existing_folder_is_kept_to_go_on_in(tmp_path) -> None:
    save(opened(tmp_path), 2)
    run = opened(tmp_path, keep=True)
    assert run.newest_state()[0].iteration == 2
    assert [path.name for path in tmp_path.iterdir()] == ["trial"]


MISTAKES = {
    "nothing": lambda content: {},
    "a list": lambda content: [1, 2],
    "no optimizer": lambda content: {key: value for key, value in content.items() if key != "optimizer"},
    "a negative count": lambda content: content | {"bursts": -1},
    "a huge count": lambda content: content | {"bursts": 10**30},
    "a count that is a text": lambda content: content | {"skipped": "3"},
    "another iteration": lambda content: content | {"iteration": 10**9},
    "more updates than iterations": lambda content: content | {"ema_updates": 5},
    "weights of integers": lambda content: content | {"model": {"a": torch.ones(2, dtype=torch.int64)}},
    "weights that are no tensors": lambda content: content | {"ema": {"a": [1.0]}},
    "infinite weights": lambda content: content | {"ema": {"a": torch.tensor([torch.inf])}},
    "a step of Adam that is no number": lambda content: (
        content
        | {
            "optimizer": {
                "state": {0: dict.fromkeys(("step", "exp_avg", "exp_avg_sq"), torch.zeros(3))},
                "param_groups": [],
            }
        }
    ),
    "a PSNR that is NaN": lambda content: content | {"best_psnr": math.nan},
    "groups of unknown names": lambda content: content | {"optimizer": {"state": {}, "param_groups": [{"name": "x"}]}},
    "moments of NaN": lambda content: (
        content
        | {
            "optimizer": {
                "state": {0: dict.fromkeys(("step", "exp_avg", "exp_avg_sq"), torch.tensor(torch.nan))},
                "param_groups": content["optimizer"]["param_groups"],
            }
        }
    ),
    "a loss scale of 0": lambda content: content | {"scaler": {"scale": 0.0}},
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_state_with_wrong_content_is_neither_used_nor_written(tmp_path, mistake) -> None:
    run = opened(tmp_path)
    save(run, 2)
    save(run, 4)
    content, path = MISTAKES[mistake](state(4)), run.states / "4.state"
    torch.save(content, path)
    (run.states / "4.state.sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())
    found, _, (problem,) = run.newest_state()
    assert found.iteration == 2
    assert problem.startswith(f"{path}: ")
    assert len(problem.splitlines()) == 1
    before = files(run.folder)
    assert message_of(run.save, 6, {"a": torch.ones(2)}, {}, content).startswith(f"{run.states}/6.state: ")
    assert files(run.folder) == before


def test_folders_that_cannot_be(tmp_path) -> None:
    (tmp_path / "file").touch()
    assert message_of(opened, tmp_path / "file").startswith(f"{tmp_path}/file/trial: ")
    assert message_of(opened, tmp_path / "file", keep=True).startswith(f"{tmp_path}/file/trial: ")


def test_log_holds_what_is_said_from_info_on_while_it_is_open(tmp_path) -> None:
    run = opened(tmp_path)
    logger = logging.getLogger("twostagealign.test")
    logger.warning("before")
    for round_ in (1, 2):
        with run.log_to_file(logger):
            logger.info("iteration %d", round_)
            logger.debug("detail")
    logger.warning("after")
    lines = (run.folder / "train.log").read_text().splitlines()
    assert [line.partition(" INFO: ")[2] for line in lines] == ["iteration 1", "iteration 2"]
    assert logger.handlers == []
    assert logger.level == logging.NOTSET
