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

T = TypeVar("T")

STEP_TIMEOUT = timedelta(minutes=30)
"""How long a process waits for the others in the steps of a training."""

SHARE_TIMEOUT = timedelta(days=30)
"""How long a process waits for the others where frames are shared out: one of them may have many left."""

_HEAD_START = 2.0  # seconds


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is.

    Attributes:
        rank: of this process, from 0.
        count: of processes.
        restarted: whether these processes follow others of the same job, one of which was lost.
    """

    rank: int = 0
    count: int = 1
    restarted: bool = False

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The part of `items` that is this process's: every `count`-th."""
        return items[self.rank :: self.count]

    def gather(self, items: Sequence[T]) -> list[T]:
        """The items of all processes, on every process; waits for all of them."""
        if self.count == 1:
            return list(items)
        parts: list[Sequence[T]] = [[] for _ in range(self.count)]
        distributed.all_gather_object(parts, items)
        return [item for part in parts for item in part]

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any process; waits for all of them."""
        if self.count == 1:
            return flag
        flags = torch.tensor([flag], dtype=torch.uint8)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX)
        return bool(flags)

    def broadcast(self, item: T | None) -> T:
        """What the first process gives, on every process."""
        items: list[Any] = [item]
        if self.count > 1:
            distributed.broadcast_object_list(items, src=0)
        return items[0]

    def wait(self) -> None:
        """Go on when all processes have come here."""
        self.gather([])

    def device(self, name: str) -> torch.device:
        """The device for this process; see `pick_device`. Processes on one machine share out its GPUs."""
        device = pick_device(name)
        if device.type == "cuda" and self.count > 1:
            return torch.device("cuda", int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
        return device


@contextmanager
def join_ranks(required: bool = False, timeout: timedelta = STEP_TIMEOUT) -> Iterator[Ranks]:
    """Join the other processes where torchrun started several; elsewhere this one is alone.

    Args:
        required: refuse to be alone without torchrun.
        timeout: longest wait for the other processes.

    Raises:
        UserError: torchrun is required, and did not start this process; or its variables are not complete.
        JobError: this process is the first whose work inside ended in a `UserError`, or it has lost another process.
        SystemExit: another process was the first.
    """
    if required and "WORLD_SIZE" not in os.environ:
        raise UserError("--launcher pytorch: found no WORLD_SIZE in the environment, expected a start by torchrun")
    _check_environment()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    # A few Python objects and flags are exchanged by gloo, the gradients of GPUs by nccl.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store, restarted = join_process_group(backend, timeout)
    rank, count = distributed.get_rank(), distributed.get_world_size()
    ranks = Ranks(rank, count, restarted=Ranks(rank, count).any(restarted))
    try:
        yield ranks
    except UserError as error:
        if _is_first(store, ranks.rank):
            raise JobError(str(error)) from error
        raise SystemExit(2) from None
    except RuntimeError as error:
        if not _is_lost_connection(error):
            raise
        minutes = timeout.total_seconds() / 60
        raise JobError(
            f"process {ranks.rank} of {ranks.count}: another process has ended, or has not answered for {minutes:g} "
            "minutes; see its messages, then start again with --auto_resume (training) or --resume (evaluation)"
        ) from error
    finally:
        distributed.destroy_process_group()


def _check_environment() -> None:
    """Refuse a WORLD_SIZE that torchrun has not set, as some batch systems do: the other variables are missing then."""
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


def _is_lost_connection(error: RuntimeError) -> bool:
    """Whether an error comes from a collective that another process has left: gloo has no class for it."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _is_first(store: distributed.Store, rank: int) -> bool:
    """Whether no other process has reported an error yet. The first process goes before the others."""
    if rank > 0:
        time.sleep(_HEAD_START)
    try:
        return store.add("errors", 1) == 1
    except RuntimeError:  # the first process kept the store, and has ended
        return False
