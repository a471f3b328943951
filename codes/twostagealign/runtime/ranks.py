"""The processes of one job, as torchrun starts them."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed

from twostagealign.runtime.device import pick_device
from twostagealign.runtime.errors import JobError, UserError
from twostagealign.runtime.rendezvous import join_process_group

T = TypeVar("T")

PATIENCE = timedelta(days=30)
"""How long a process waits for the others: a frame of one may take long while the others have none left."""

_HEAD_START = 2.0  # seconds


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is.

    Attributes:
        rank: of this process, from 0.
        count: of processes.
    """

    rank: int = 0
    count: int = 1

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
        items = [item]
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
def join_ranks(required: bool = False) -> Iterator[Ranks]:
    """Join the other processes where torchrun started several; elsewhere this one is alone.

    Args:
        required: refuse to be alone without torchrun.

    Raises:
        UserError: torchrun is required, and did not start this process.
        JobError: this process is the first whose work inside ended in a `UserError`.
        SystemExit: another process was the first.
    """
    if required and "WORLD_SIZE" not in os.environ:
        raise UserError("--launcher pytorch: found no WORLD_SIZE in the environment, expected a start by torchrun")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    # A few Python objects and flags are exchanged by gloo, the gradients of GPUs by nccl.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    store = join_process_group(backend, PATIENCE)
    ranks = Ranks(distributed.get_rank(), distributed.get_world_size())
    try:
        yield ranks
    except UserError as error:
        if _is_first(store, ranks.rank):
            raise JobError(str(error)) from error
        raise SystemExit(2) from None
    finally:
        distributed.destroy_process_group()


def _is_first(store: distributed.Store, rank: int) -> bool:
    """Whether no other process has reported an error yet. The first process goes before the others."""
    if rank > 0:
        time.sleep(_HEAD_START)
    try:
        return store.add("errors", 1) == 1
    except RuntimeError:  # the first process kept the store, and has ended
        return False
