"""A run that is killed again and again ends with the weights of one that was not."""

import multiprocessing
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from twostagealign.options import load_options
from twostagealign.training.build import build_trainer
from twostagealign.training.experiment import Experiment

OPTIONS = ["train:scheduler:periods=[4, 996]", "logger:checkpoint_every=3", "val:every=7", "logger:keep_checkpoints=2"]


def train(path: Path, name: str, iterations: int) -> None:
    torch.set_num_threads(1)
    options = load_options(path, [f"name={name}", f"train:total_iter={iterations}", *OPTIONS])
    build_trainer(options, resume=True).run()


def run_and_kill(path: Path, iterations: int, kills: int) -> int:
    """Train in processes of which the first ones are killed; returns how many were killed while they wrote."""
    # The server imports once, also what training imports as it goes; what it forks starts at once.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["twostagealign.training.build", "torch._dynamo", "scipy.stats"])
    states = path.parent / "experiments" / "killed" / "training_states"
    chance = random.Random(0)
    writing = 0
    for kill in range(kills):
        process = context.Process(target=train, args=(path, "killed", iterations))
        process.start()
        if kill % 3 == 1:  # in the middle of writing a checkpoint
            deadline = time.monotonic() + 60
            while process.is_alive() and not (parts := list(states.glob(".*.part"))) and time.monotonic() < deadline:
                pass
            writing += bool(parts)
        else:
            time.sleep(chance.uniform(0.5, 3))
        number = signal.SIGTERM if kill % 3 == 2 else signal.SIGKILL
        with suppress(ProcessLookupError):  # it was just done
            os.kill(process.pid, number)
        process.join(timeout=120)
        assert process.exitcode in (0, -number)  # 0: just done, or saved and returned
    process = context.Process(target=train, args=(path, "killed", iterations))
    process.start()
    process.join()
    assert process.exitcode == 0
    return writing


def check(path: Path, iterations: int, kills: int) -> None:
    train(path, "undisturbed", iterations)
    writing = run_and_kill(path, iterations, kills)
    assert writing > 0
    found, expected = (
        Experiment(path.parent / "experiments", name).newest_state()[0] for name in ("killed", "undisturbed")
    )
    assert found.iteration == iterations
    assert found.bursts == expected.bursts
    for kind in ("model", "ema"):
        for name, tensor in getattr(expected, kind).items():
            assert torch.equal(getattr(found, kind)[name], tensor), name


def test_three_kills(tiny_experiment) -> None:
    check(tiny_experiment, iterations=40, kills=3)


@pytest.mark.slow
def test_twenty_kills(tiny_experiment) -> None:
    check(tiny_experiment, iterations=200, kills=20)
