"""How the processes of one job find each other, also after torchrun has restarted some of them.

torchrun keeps one store for all rounds of a job. What the processes of an earlier round have left there, addresses of
processes that are gone, would be read by those of the next one, which then wait for each other for ever. Therefore
every round agrees on a name of its own, under which its process group keeps its keys.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

from torch import distributed

from twostagealign.runtime.errors import UserError

JOIN_TIMEOUT = timedelta(minutes=2)
"""How long a process waits for the others of its round to start."""

_POLL = 0.05  # seconds between two looks at the store


def join_process_group(backend: str, timeout: timedelta) -> tuple[distributed.Store, distributed.Store | None]:
    """Make the default process group of the processes that torchrun, or another launcher, has started.

    Rank, number of processes and address come from the environment (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    Args:
        backend: of `torch.distributed.init_process_group`.
        timeout: longest wait of one process for the others in a collective.

    Returns:
        The store of this round of the job; and the one of all its rounds, None if it does not outlive this round.

    Raises:
        UserError: the others do not come within `JOIN_TIMEOUT`, or the store cannot be reached or opened.
    """
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # Under torchrun the agents keep the store; elsewhere the first process does.
    outlives = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    keeps_store = rank == 0 and not outlives
    try:
        store = distributed.TCPStore(address, port, None, keeps_store, JOIN_TIMEOUT, wait_for_workers=False)
        name = agree_on_round(store, rank, count, JOIN_TIMEOUT)
        round_store = distributed.PrefixStore(name, store)
        distributed.init_process_group(backend, store=round_store, rank=rank, world_size=count, timeout=timeout)
        return round_store, store if outlives else None
    except (RuntimeError, TimeoutError) as error:  # torch's DistError is a RuntimeError
        reason = " ".join(str(error).partition("\n")[0].split())
        raise UserError(f"{address}:{port}: process {rank} of {count} cannot join the others ({reason})") from error


def agree_on_round(store: distributed.Store, rank: int, count: int, timeout: timedelta) -> str:
    """Agree with the other processes of this round on a name that no other round has.

    The first process draws the name and answers the greeting of every other one. A greeting, and its answer, carry a
    word that is drawn by the process that greets: what processes of earlier rounds have left is never taken for new.

    Args:
        store: shared by the processes, perhaps with those of earlier rounds.
        rank: rank of this process.
        count: number of processes.
        timeout: longest wait for the others.

    Returns:
        The name, the same on all processes.

    Raises:
        TimeoutError: some of the processes did not come.
    """
    deadline = time.monotonic() + timeout.total_seconds()
    if rank > 0:
        word = uuid.uuid4().hex
        store.set(f"greeting/{rank}", word)
        _wait(lambda: store.check([f"answer/{word}"]), deadline, "the first process")
        name = store.get(f"answer/{word}").decode()
        store.set(f"{name}/joined/{rank}", "")
        return name
    name = uuid.uuid4().hex
    missing = set(range(1, count))

    def all_joined() -> bool:
        for other in sorted(missing):
            if store.check([f"greeting/{other}"]):
                store.set(f"answer/{store.get(f'greeting/{other}').decode()}", name)
            if store.check([f"{name}/joined/{other}"]):
                missing.remove(other)
        return not missing

    _wait(all_joined, deadline, "all other processes")
    return name


def _wait(holds: Callable[[], bool], deadline: float, whom: str) -> None:
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited for {whom}")
        time.sleep(_POLL)
