"""The processes of one job, as torchrun starts them."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from twostagealign.runtime.device import pick_device
from twostagealign.runtime.errors import JobError, UserError
from twostagealign.runtime.rendezvous import join_process_group
from twostagealign.runtime.watch import Watch

T = TypeVar("T")

STEP_TIMEOUT = timedelta(minutes=30)
"""Longest wait for other processes within a training step."""

SHARE_TIMEOUT = timedelta(days=30)
"""Longest wait for other processes after frames were shared out: one process may have many left."""

_HEAD_START = 2.0  # seconds
_BEGUN = "begun"


@dataclass(frozen=True)
class Ranks:
    """Rank of this process, and communication with the others.

    Attributes:
        rank: rank of this process, from 0.
        count: number of processes.
        restarted: whether torchrun has restarted this job after it had begun, because a process was lost.
        store: store that outlives these processes, where torchrun keeps one.
    """

    rank: int = 0
    count: int = 1
    restarted: bool = False
    store: distributed.Store | None = None

    def begin(self) -> None:
        """Note that this job's own results are in place: processes that torchrun starts later go on with them."""
        if self.store:
            self.store.set(_BEGUN, "")

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """This process's share of `items`: every `count`-th."""
        return items[self.rank :: self.count]

    def gather(self, items: Sequence[T]) -> list[T]:
        """Items of all processes, on every process; waits for all processes."""
        if self.count == 1:
            return list(items)
        parts: list[Sequence[T]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any process; waits for all processes."""
        if self.count == 1:
            return flag
        flags = torch.tensor([flag], dtype=torch.uint8)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)

    def broadcast(self, item: T | None) -> T:
        """The item of rank 0, on every process."""
        items: list[Any] = [item]
        if self.count > 1:
            distributed.broadcast_object_list(items, src=0)
        return items[0]

    def wait(self) -> None:
        """Wait until all processes have reached this call."""
        self.gather([])

    def device(self, name: str) -> torch.device:
        """The device of this process; see `pick_device`. Processes of one machine share its GPUs.

        Of several processes, each makes its GPU the current one: what names no GPU, also in libraries, works there.
        """
        device = pick_device(name)
        if device.type == "cuda" and self.count > 1:
            # Launchers other than torchrun may not number the processes of a machine; they number all in its order.
            number = int(os.environ.get("LOCAL_RANK", self.rank))
            device = torch.device("cuda", number % torch.cuda.device_count())
            torch.cuda.set_device(device)
        return device


@contextmanager
def join_ranks(required: bool = False, timeout: timedelta = STEP_TIMEOUT) -> Iterator[Ranks]:
    """Join the other processes if torchrun started several; otherwise there is one rank.

    Args:
        required: require a start by torchrun.
        timeout: longest wait for the other processes.

    Raises:
        UserError: torchrun is required but did not start this process, or its environment variables are incomplete.
        JobError: the `with` block raised a `UserError` on this process first, or another process was lost.
        SystemExit: the `with` block raised a `UserError`, which another process has reported.
    """
    if required and "WORLD_SIZE" not in os.environ:
        raise UserError("--launcher pytorch: found no WORLD_SIZE in the environment, expected a start by torchrun")
    _check_environment()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks(restarted=_restarts() > 0)
        return
    # gloo exchanges Python objects and flags, nccl the gradients of GPUs.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, kept = join_process_group(backend, timeout)
    rank, count = distributed.get_rank(), distributed.get_world_size()
    watch, left = None, _restarts_left()
    try:
        # Where no store tells what earlier processes did, the number of restarts has to.
        restarted = kept.check([_BEGUN]) if kept else _restarts() > 0
        processes = Ranks(rank, count)
        restarted = processes.any(restarted)
        # An agent does not count restarts that another one has begun. The first one that has none left ends the job.
        left = min(processes.gather([left]))
        watch = Watch(lambda: _loss(rank, count, left))
        yield Ranks(rank, count, restarted, kept)
        watch.leave()
    except UserError as error:
        if _is_first(store, rank):
            raise JobError(str(error)) from error
        raise SystemExit(2) from None
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        raise JobError(_loss(rank, count, left)) from error
    finally:
        if watch is None or watch.stop():
            distributed.destroy_process_group()


def _check_environment() -> None:
    """Refuse a WORLD_SIZE set by something else than torchrun, such as a batch system: other variables are missing."""
    several = os.environ.get("WORLD_SIZE", "1") != "1"
    for name in ("WORLD_SIZE", "RANK", "MASTER_PORT") if several else ():
        found = os.environ.get(name)
        if found is None or not found.isdecimal():
            raise UserError(
                f"{name}: found {found!r} in the environment, expected a number; start several processes by torchrun, "
                "or unset WORLD_SIZE"
            )
    if several and "MASTER_ADDR" not in os.environ:
        raise UserError("MASTER_ADDR: missing from the environment; start by torchrun, or unset WORLD_SIZE")


def _restarts() -> int:
    """How often the agent of this process has lost one and started all of its processes again."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def _max_restarts() -> int:
    """How often the agent of this process may start all of its processes again."""
    return int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0"))


def _restarts_left() -> int:
    return _max_restarts() - _restarts()


def _loss(rank: int, count: int, left: int) -> str:
    """The line of a process that has lost another one: whether torchrun can start the job again, or the user has to.

    Args:
        rank: rank of the process.
        count: number of processes.
        left: number of restarts that are left to the job.
    """
    text = f"process {rank} of {count}: another process has ended, or does not answer; see its messages"
    most = _max_restarts()
    if left > 0:
        return f"{text}; torchrun can start the job again ({left} of --max_restarts={most} left)"
    spent = f"--max_restarts={most} is spent" if most else "no --max_restarts is given"
    return f"{text}; {spent}, so start again with --auto_resume (training) or --resume (evaluation)"


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether a collective failed because another process ended; gloo raises a plain RuntimeError."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _is_first(store: distributed.Store, rank: int) -> bool:
    """Whether no other process has reported an error yet; rank 0 reports first."""
    if rank > 0:
        time.sleep(_HEAD_START)
    try:
        return store.add("errors", 1) == 1
    except RuntimeError:  # rank 0 held the store and has ended
        return False
