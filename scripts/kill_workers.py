"""Kill workers of a training over two torchrun agents, and check that the job goes on and ends with the same weights.

python scripts/kill_workers.py --kills 50

Each job trains a small network on two processes, one per agent, that meet on the loopback. One of them is killed with
SIGKILL at a random moment of a phase: while it starts, trains, validates, or writes a checkpoint. A job passes if both
agents exit with 0 and its last training state holds the weights of a job that nobody disturbed.
"""

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from twostagealign.cli.run import run
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import SHIPPED, output_folder, write_json

OPTIONS = """
name: undisturbed
device: cpu
path: {{experiments_root: {root}}}
network: {{type: TwoStageNet, nf: 8, groups: 4}}
features: {{type: LowResolutionFeatures, channels: 8}}
matching: {{search_window: 16, final_temperature_from: 4}}
datasets:
  train: {{type: StillsInMotion, source: skimage, exclude: [coffee], frames: 3, size: 48, max_shift: 6, seed: 1}}
  val: {{type: StillsInMotion, source: skimage, include: [coffee], frames: 3, size: 48, max_shift: 4, length: 4}}
train:
  total_iter: {iterations}
  patch_size: 8
  workers: 0
  optimizer: {{lr: 1e-3, features_lr: 1e-3}}
  scheduler: {{periods: [{iterations}], restart_weights: [1], eta_min: 1e-7}}
val: {{every: 10, pictures: 1, search_window: 16}}
logger: {{print_every: 10, checkpoint_every: 5, tensorboard: false}}
"""
ITERATIONS = 60
PHASES = ("start", "training", "validation", "checkpoint")
LIMIT = 180.0
"""Seconds that a job may take, from the kill on."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        rank: number of the agent whose worker was killed.
        phase: phase in which it was killed.
        killed_after: seconds from the start of the job to the kill.
        restarted_after: seconds from the kill to the next line of the log that says where training goes on.
        finished_after: seconds from the kill to the end of both agents.
        problem: why the job failed; None if it passed.
    """

    rank: int
    phase: str
    killed_after: float
    restarted_after: float | None
    finished_after: float
    problem: str | None


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def job(options: Path, name: str, logs: Path) -> Iterator[list[subprocess.Popen]]:
    """Start the two agents of a job; whatever happens, they are gone with all their children in the end."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", "--max_restarts=3"]
    command += ["--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{free_port()}", f"--rdzv_id={name}"]
    command += ["--monitor_interval=0.2", str(SHIPPED / "codes" / "train.py"), "-opt", str(options)]
    command += ["--launcher", "pytorch", "--force_yml", f"name={name}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    agents = []
    with ExitStack() as stack:
        for number in range(2):
            log = stack.enter_context((logs / f"{name}_{number}.log").open("w"))
            agents.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
        try:
            yield agents
        finally:
            for agent in agents:
                for process in [*descendants(agent.pid), agent.pid]:
                    try:
                        os.kill(process, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                agent.wait()


def workers(agent: int) -> list[int]:
    """Processes of an agent that train."""
    found = []
    for process in descendants(agent):
        try:
            arguments = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"torch.distributed.run" not in arguments and any(a.endswith(b"train.py") for a in arguments):
            found.append(process)
    return found


def descendants(process: int) -> list[int]:
    """Children of a process, and theirs."""
    found = []
    try:
        children = [int(c) for c in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []
    for child in children:
        found += [child, *descendants(child)]
    return found


def wait_for(holds: Callable[[], bool], seconds: float) -> bool:
    """Look until something holds or the time is over; whether it holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def in_phase(phase: str, folder: Path, after: int) -> bool:
    """Whether a job has come to a phase of its training, beyond iteration `after`."""
    states = [int(path.stem) for path in (folder / "training_states").glob("*.state") if path.stem.isdecimal()]
    if phase == "training":
        return max(states, default=0) >= after
    if phase == "validation":
        pictures = [int(path.name) for path in (folder / "visualization").glob("*") if path.name.isdecimal()]
        return max(pictures, default=0) > after
    return max(states, default=0) >= after and any((folder / "training_states").glob(".*.part"))


def disturb(options: Path, root: Path, name: str, rank: int, phase: str, draw: random.Random) -> Outcome:
    """Run a job, kill a worker of agent `rank` in a phase, wait for the end."""
    folder, log = root / name, root / name / "train.log"
    with job(options, name, root) as agents:
        start = time.monotonic()
        agent = agents[rank].pid
        wait_for(lambda: bool(workers(agent)), 60)
        if phase == "start":
            time.sleep(draw.uniform(0, 6))
        else:
            wait_for(lambda: in_phase(phase, folder, draw.choice(range(5, ITERATIONS - 20, 5))), 120)
            time.sleep(draw.uniform(0, 0.3) if phase == "training" else 0)
        before = log.read_text().count("from iteration") if log.exists() else 0
        victims = workers(agent)
        if not victims:
            return Outcome(rank, phase, time.monotonic() - start, None, 0.0, "the worker had ended before the kill")
        os.kill(victims[0], signal.SIGKILL)
        killed = time.monotonic()
        wait_for(lambda: log.exists() and log.read_text().count("from iteration") > before, LIMIT)
        restarted = time.monotonic() - killed
        ended = wait_for(lambda: all(agent.poll() is not None for agent in agents), LIMIT)
        finished, codes = time.monotonic() - killed, [agent.poll() for agent in agents]
    problem = None
    if not ended:
        problem = f"hung: stopped after {LIMIT:g} s"
    elif codes != [0, 0]:
        problem = f"exit codes {codes}"
    elif not same_weights(folder, root / "undisturbed"):
        problem = "other weights than the undisturbed job"
    return Outcome(rank, phase, killed - start, restarted, finished, problem)


def same_weights(one: Path, other: Path) -> bool:
    """Whether the last training states of two experiments hold equal weights."""
    states = [folder / "training_states" / f"{ITERATIONS}.state" for folder in (one, other)]
    if not all(state.exists() for state in states):
        return False
    first, second = (torch.load(state, weights_only=True)["model"] for state in states)
    return all(torch.equal(first[name], second[name]) for name in second)


def main() -> None:
    """Run the undisturbed job, then disturbed ones; print each outcome and the distribution of restart times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--kills", type=int, default=50, metavar="N", help="jobs to disturb (default: %(default)s)")
    add("--load", type=int, default=0, metavar="N", help="busy processes beside the jobs (default: %(default)s)")
    add("--seed", type=int, default=0, help="of ranks, phases and moments (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the outcomes there as well")
    arguments = parser.parse_args()
    if arguments.kills < 1 or arguments.load < 0:
        raise UserError("--kills must be at least 1 and --load at least 0")
    if not Path("/proc/self/task").exists():
        raise UserError("this script finds the workers in /proc, which only Linux has")
    draw = random.Random(arguments.seed)
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as workplace, ExitStack() as stack:
        for _ in range(arguments.load):
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(busy.kill)
        root = output_folder(Path(workplace) / "experiments")
        options = root / "options.yml"
        options.write_text(OPTIONS.format(root=root, iterations=ITERATIONS))
        with job(options, "undisturbed", root) as agents:
            if not wait_for(lambda: all(agent.poll() is not None for agent in agents), LIMIT):
                raise UserError(f"the undisturbed job did not end within {LIMIT:g} s")
            if any(agent.returncode for agent in agents):
                raise UserError(f"the undisturbed job failed: {(root / 'undisturbed_0.log').read_text()[-500:]}")
        for number in tqdm(range(arguments.kills), unit="job", dynamic_ncols=True):
            rank, phase = number % 2, PHASES[number // 2 % len(PHASES)]
            outcome = disturb(options, root, f"disturbed_{number}", rank, phase, draw)
            outcomes.append(outcome)
            tqdm.write(
                f"agent {outcome.rank}, {outcome.phase:10} killed after {outcome.killed_after:5.1f} s, "
                f"restarted after {outcome.restarted_after or 0:5.1f} s, "
                f"finished after {outcome.finished_after:5.1f} s: {outcome.problem or 'passed'}"
            )
            if outcome.problem:
                for log in sorted(root.glob(f"disturbed_{number}_*.log")):
                    tqdm.write("".join(f"  {line}\n" for line in log.read_text().splitlines()[-15:]))
    passed = [outcome for outcome in outcomes if outcome.problem is None]
    times = sorted(outcome.restarted_after or 0.0 for outcome in passed)
    if times:
        middle = statistics.median(times)
        print(f"restart times: least {times[0]:.1f} s, median {middle:.1f} s, largest {times[-1]:.1f} s")
    print(f"{len(passed)} of {len(outcomes)} jobs passed")
    if arguments.json:
        write_json(arguments.json, [asdict(outcome) for outcome in outcomes])
    if len(passed) < len(outcomes):
        raise UserError(f"{len(outcomes) - len(passed)} jobs failed")


if __name__ == "__main__":
    run(main)
