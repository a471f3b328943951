"""Jobs of several torchrun agents on this machine, to check what a job does that loses a process (Linux)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from twostagealign.runtime.files import SHIPPED

TRAIN = str(SHIPPED / "codes" / "train.py")
"""The program that trains."""

_MARK = "TORCHRUN_JOB"


@dataclass
class Job:
    """A job whose agents meet on the loopback. On leaving the context, none of its processes is left.

    Attributes:
        command: program that the agents start, with its arguments.
        logs: folder for the output of each agent and its workers, `agent_NUMBER.log`.
        options: further options of torchrun.
        nodes: number of agents.
        agents: the agents, in the order of their start.
    """

    command: Sequence[str]
    logs: Path
    options: Sequence[str] = ()
    nodes: int = 2
    agents: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._mark, self._endpoint = uuid.uuid4().hex, f"127.0.0.1:{free_port()}"

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        for _ in range(self.nodes):
            self.start_agent()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while processes := self.processes():  # again, since one may have started others meanwhile
            for process in processes:
                kill(process)
            time.sleep(0.02)
        for agent in self.agents:
            agent.wait()

    def start_agent(self) -> None:
        """Start one more agent, as on a node that comes back. The first one keeps the store of the job."""
        agent = [sys.executable, "-m", "torch.distributed.run", f"--nnodes={self.nodes}", "--nproc_per_node=1"]
        agent += ["--rdzv_backend=c10d", f"--rdzv_endpoint={self._endpoint}", f"--rdzv_id={self._mark}"]
        agent += [f"--rdzv_conf=is_host={int(not self.agents)}", "--monitor_interval=0.2"]
        self.start([*agent, *self.options, *self.command])

    def start(self, command: Sequence[str], folder: Path | None = None, **environment: str) -> None:
        """Start another program in the place of an agent, in a folder, with these environment variables besides."""
        variables = os.environ | {"OMP_NUM_THREADS": "1", _MARK: self._mark} | environment
        with (self.logs / f"agent_{len(self.agents)}.log").open("w") as log:
            self.agents.append(subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log))

    def processes(self) -> list[int]:
        """All processes of the job that run, also those whose parent has ended."""
        agents = [agent.pid for agent in self.agents if agent.poll() is None]  # some overwrite their environment
        return agents + [process for process, variables in _environments() if variables.get(_MARK) == self._mark]

    def workers(self) -> dict[int, int]:
        """Rank -> process, of those that agents have started and that run now."""
        agents = {agent.pid for agent in self.agents}
        found = {process: variables for process, variables in _environments() if variables.get(_MARK) == self._mark}
        ranks = {process: variables["RANK"] for process, variables in found.items() if "RANK" in variables}
        return {int(rank): process for process, rank in ranks.items() if _parent(process) in agents}

    def lose_agent(self, agent: int) -> None:
        """Kill an agent and its workers, as a node does that loses power."""
        number = self.agents[agent].pid
        workers = [process for process in self.processes() if _parent(process) == number]
        for process in (number, *workers):
            kill(process)

    def wait(self, seconds: float) -> list[int | None]:
        """Exit codes of the agents; None for those that still run after this time."""
        wait_for(lambda: all(agent.poll() is not None for agent in self.agents), seconds)
        return [agent.poll() for agent in self.agents]

    def output(self, agent: int) -> str:
        """What an agent and its workers have printed."""
        return (self.logs / f"agent_{agent}.log").read_text(errors="replace")


def wait_for(holds: Callable[[], object], seconds: float) -> bool:
    """Look a hundred times a second until something holds or the time is over; returns whether it holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def kill(process: int) -> None:
    """End a process by SIGKILL, if it has not ended."""
    try:
        os.kill(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def _environments() -> Iterator[tuple[int, dict[str, str]]]:
    """Processes and the environments they were started with; ended ones have an empty environment."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                entries = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:  # ended just now, or another user's
                continue
            yield int(folder.name), dict(entry.split("=", 1) for entry in entries if "=" in entry)


def _parent(process: int) -> int | None:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None
