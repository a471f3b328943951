"""A process notices that another one is lost, whatever it does itself."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from torch import distributed

from twostagealign.runtime.watch import Watch

BUSY = 60.0


def work(folder: Path, rank: int, seconds: float, silence: float) -> None:
    """Process of a job of two that works for some seconds."""
    distributed.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=2)
    watch = Watch(lambda: f"process {rank} has lost another one", timedelta(seconds=silence))
    (folder / str(rank)).touch()
    time.sleep(seconds)
    try:
        watch.leave()
    except RuntimeError:
        os._exit(3)


@pytest.fixture
def start(tmp_path) -> Iterator[Callable[..., list[BaseProcess]]]:
    """Starts two processes that work for so many seconds each, and waits until they work."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["twostagealign.runtime.watch"])
    processes: list[BaseProcess] = []

    def run(*seconds: float, silence: float = 60) -> list[BaseProcess]:
        for rank, number in enumerate(seconds):
            processes.append(context.Process(target=work, args=(tmp_path, rank, number, silence)))
            processes[-1].start()
        end = time.monotonic() + 60
        while not all((tmp_path / str(rank)).exists() for rank in range(2)):
            assert time.monotonic() < end
            time.sleep(0.01)
        return processes

    yield run
    for process in processes:
        process.kill()
        process.join()


def test_a_process_that_works_by_itself_ends_when_another_was_killed(start) -> None:
    first, second = start(BUSY, BUSY)
    os.kill(second.pid, signal.SIGKILL)
    first.join(BUSY / 2)
    assert first.exitcode == 2


def test_a_process_that_is_silent_is_lost(start) -> None:
    """As on a machine without power: its connections stay open."""
    first, second = start(BUSY, BUSY, silence=2)
    os.kill(second.pid, signal.SIGSTOP)
    first.join(BUSY / 2)
    assert first.exitcode == 2


def test_a_process_that_has_finished_its_work_learns_of_the_loss(start) -> None:
    first, second = start(0, BUSY)
    os.kill(second.pid, signal.SIGKILL)
    first.join(BUSY / 2)
    assert first.exitcode == 3


def test_one_process_takes_longer_than_the_other_and_than_a_silence(start) -> None:
    first, second = start(0, 4, silence=2)
    first.join(BUSY / 2)
    second.join(BUSY / 2)
    assert (first.exitcode, second.exitcode) == (0, 0)
