"""Kill workers of trainings over two torchrun agents, and check that they go on and end with the same weights.

python scripts/kill_workers.py --kills 50

Each job trains a small network on two processes, one per agent, that meet on the loopback. Several times, one of them
is killed with SIGKILL at a random moment of a phase: while it starts, trains, validates, or writes a checkpoint. A job
passes if training goes on within three minutes after each kill, both agents exit with 0 within three minutes after the
last one, and the last training state holds the weights of a job that nobody disturbed.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import torch
from torchrun_jobs import TRAIN, Job, kill, wait_for
from tqdm import tqdm

from twostagealign.cli.run import run
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, prepare_output, write_json

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
val: {{every: 10, pictures: 0, search_window: 16}}
logger: {{print_every: 10, checkpoint_every: 5, tensorboard: false}}
"""
ITERATIONS = 100
RANKS = (0, 1)
SPREAD = {"start": 5.0, "training": 1.0, "validation": 0.1, "checkpoint": 0.02}
"""Phase -> longest time, in seconds, from the moment that it is seen to the kill. A start: as long as the last one."""
KILLS_PER_JOB = 10
LIMIT = 180.0
"""Seconds that a job may take to go on after a kill, and to end after the last one."""


@dataclass(frozen=True)
class Kill:
    """A kill and what followed.

    Attributes:
        job: number of the job.
        rank: rank of the killed process.
        phase: phase of the job, seen right before the kill.
        killed_after: seconds from the start of the job to the kill.
        restarted_after: seconds from the kill until training goes on; None if the next kill came before.
    """

    job: int
    rank: int
    phase: str
    killed_after: float
    restarted_after: float | None


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        job: number of the job.
        seconds: from its start to its end.
        problem: why it failed; None if it passed.
    """

    job: int
    seconds: float
    problem: str | None


class Disturbed:
    """A running job, its phases, and kills.

    Args:
        number: number of the job.
        job: the job.
        folder: folder of its experiment.
        draw: draws the moments.
    """

    def __init__(self, number: int, job: Job, folder: Path, draw: random.Random) -> None:
        self.number, self.job, self.folder, self.draw = number, job, folder, draw
        self._start = self._killed = time.monotonic()
        self._found = 0.0  # when the processes of this round were found
        self._rounds = 0  # rounds that had begun to train before this one
        self._workers: dict[int, int] = {}  # rank -> process
        self._spread = dict(SPREAD)

    def disturb(self, rank: int, phase: str) -> Kill | None:
        """Kill a process in a phase, a random time after it begins; None if the job ends before."""
        if phase != "start":
            time.sleep(self.draw.uniform(0, 1))
        if not self._find_workers():
            return None
        while self._wait(lambda: self._phase() == phase):
            time.sleep(self.draw.uniform(0, self._spread[phase]))
            seen = self._phase()
            # A process that was to start may train already. Other phases come again.
            if seen == phase or (phase == "start" and seen != "end"):
                kill(self._workers[rank])
                self._killed = time.monotonic()
                return Kill(self.number, rank, seen, self._killed - self._start, None)
        return None

    def goes_on(self) -> float | None:
        """Wait until training goes on after the last kill; returns seconds from the kill, None if it does not."""
        if not (self._find_workers() and self._wait(self._trains)):
            return None
        self._spread["start"] = time.monotonic() - self._killed
        return self._spread["start"]

    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start

    def _find_workers(self) -> bool:
        """Wait for the processes of the round after the last kill; returns whether they come."""
        if self._killed < self._found:
            return True
        old, found = {*self._workers.values()}, {}

        def all_found() -> bool:
            found.update(self.job.workers())
            return found.keys() == {*RANKS} and not old & {*found.values()}

        if not self._wait(all_found):
            return False
        self._workers, self._found = found, time.monotonic()
        self._rounds = self._log().count("from iteration")  # the process that was left may have written one more
        return True

    def _log(self) -> str:
        file = self.folder / "train.log"
        return file.read_text() if file.exists() else ""

    def _trains(self) -> bool:
        return self._log().count("from iteration") > self._rounds

    def _phase(self) -> str:
        """Phase of the job, from what its first process has written."""
        log = self._log()
        if log.count("from iteration") == self._rounds:
            return "start"
        if (self.folder / "training_states" / f"{ITERATIONS}.state").exists():
            return "end"
        # A validation comes right after a line with losses, and has a line itself in the end.
        if re.search(r"iteration \d+: lr", log.splitlines()[-1]):
            return "validation"
        folders = (self.folder / name for name in ("models", "training_states"))
        writes = any(any(folder.glob(f".*.{self._workers[0]}.part")) for folder in folders)
        return "checkpoint" if writes else "training"

    def _wait(self, holds: Callable[[], bool]) -> bool:
        """Wait until something holds, the job ends or the time is over; returns whether it holds."""

        def ended() -> bool:
            state = self.folder / "training_states" / f"{ITERATIONS}.state"
            return state.exists() or any(agent.poll() is not None for agent in self.job.agents)

        return wait_for(lambda: holds() or ended(), LIMIT) and holds()


def job(options: Path, name: str, root: Path) -> Job:
    """The two agents of a training."""
    command = [TRAIN, "-opt", str(options), "--launcher", "pytorch", "--force_yml", f"name={name}"]
    return Job(command, root / f"{name}_logs", [f"--max_restarts={2 * KILLS_PER_JOB}"])


def same_weights(one: Path, other: Path) -> bool:
    """Whether the last training states of two experiments hold equal weights."""
    states = [folder / "training_states" / f"{ITERATIONS}.state" for folder in (one, other)]
    if not all(state.exists() for state in states):
        return False
    first, second = (torch.load(state, weights_only=True)["model"] for state in states)
    return all(torch.equal(first[name], second[name]) for name in second)


def run_job(
    options: Path,
    root: Path,
    number: int,
    choose: Callable[[], tuple[int, str]],
    kills: list[Kill],
    count: int,
    draw: random.Random,
) -> Outcome:
    """Run a job, kill some of its processes, which are added to `kills` up to `count`, and wait for the end."""
    name, before = f"disturbed_{number}", len(kills)
    with job(options, name, root) as agents:
        disturbed = Disturbed(number, agents, root / name, draw)

        def wait_for_training() -> bool:
            seconds = disturbed.goes_on()
            if len(kills) > before and kills[-1].restarted_after is None:
                kills[-1] = replace(kills[-1], restarted_after=seconds)
            return seconds is not None

        while len(kills) < count:
            rank, phase = choose()
            if phase != "start" and not wait_for_training():
                break
            found = disturbed.disturb(rank, phase)
            if found is None:
                break
            kills.append(found)
        goes_on = wait_for_training()
        codes, seconds = agents.wait(LIMIT), disturbed.seconds()
        problem = None
        if None in codes:
            problem = f"hung: stopped {LIMIT:g} s after the last kill"
        elif codes != [0, 0]:
            problem = f"exit codes {codes}"
        elif not same_weights(root / name, root / "undisturbed"):
            problem = "other weights than the undisturbed job"
        elif not goes_on:
            problem = f"did not go on within {LIMIT:g} s after a kill"
        if problem:
            for agent in range(len(agents.agents)):
                tqdm.write("".join(f"  {agent}: {line}\n" for line in agents.output(agent).splitlines()[-60:]))
    return Outcome(number, seconds, problem)


def table(kills: Sequence[Kill]) -> str:
    """Numbers of kills and restart times by phase and by rank."""
    rows = {"all": kills}
    rows |= {phase: [found for found in kills if found.phase == phase] for phase in SPREAD}
    rows |= {f"rank {rank}": [found for found in kills if found.rank == rank] for rank in RANKS}
    lines = ["seconds to restart  kills  median    90 %  largest"]
    for name, chosen in rows.items():
        times = sorted(found.restarted_after for found in chosen if found.restarted_after is not None)
        if times:
            numbers = statistics.median(times), times[-(-9 * len(times) // 10) - 1], times[-1]
            lines.append(f"{name:18} {len(chosen):6} {numbers[0]:7.1f} {numbers[1]:7.1f} {numbers[2]:8.1f}")
    return "\n".join(lines)


def main() -> None:
    """Run the undisturbed job, then disturbed ones; print each outcome and the distribution of restart times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--kills", type=int, default=50, metavar="N", help="processes to kill (default: %(default)s)")
    add("--load", type=int, default=0, metavar="N", help="busy processes beside the jobs (default: %(default)s)")
    add("--seed", type=int, default=0, help="of ranks, phases and moments (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write kills and outcomes there as well")
    arguments = parser.parse_args()
    if arguments.kills < 1 or arguments.load < 0:
        raise UserError("--kills must be at least 1 and --load at least 0")
    if not Path("/proc/self/environ").exists():
        raise UserError("this script finds the workers in /proc, which only Linux has")
    if arguments.json:
        prepare_output(arguments.json)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its jobs end with it
    draw = random.Random(arguments.seed)
    kills: list[Kill] = []
    outcomes: list[Outcome] = []

    def choose() -> tuple[int, str]:
        """Rank and phase that were killed least often so far."""
        done = [(found.rank, found.phase) for found in kills]
        return min(product(RANKS, SPREAD), key=lambda pair: (done.count(pair), draw.random()))

    with tempfile.TemporaryDirectory() as workplace, ExitStack() as stack:
        for _ in range(arguments.load):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        root = output_folder(Path(workplace) / "experiments")
        options = root / "options.yml"
        options.write_text(OPTIONS.format(root=root, iterations=ITERATIONS))
        with job(options, "undisturbed", root) as agents:
            if agents.wait(LIMIT) != [0, 0]:
                raise UserError(f"the undisturbed job failed within {LIMIT:g} s: {agents.output(0)[-500:]}")
        with tqdm(total=arguments.kills, unit="kill", dynamic_ncols=True) as bar:
            while len(kills) < arguments.kills and len(outcomes) < arguments.kills:
                before = len(kills)
                count = min(before + KILLS_PER_JOB, arguments.kills)
                outcome = run_job(options, root, len(outcomes), choose, kills, count, draw)
                outcomes.append(outcome)
                bar.update(len(kills) - before)
                for each in kills[before:]:
                    tqdm.write(
                        f"job {each.job}: rank {each.rank}, {each.phase:10} killed after {each.killed_after:5.1f} s, "
                        f"restarted after {each.restarted_after or float('nan'):5.1f} s"
                    )
                tqdm.write(f"job {outcome.job}: {outcome.problem or 'passed'}, {outcome.seconds:.0f} s")
    failed = [outcome for outcome in outcomes if outcome.problem]
    print(table(kills))
    print(f"{len(kills)} kills; {len(outcomes) - len(failed)} of {len(outcomes)} jobs passed")
    if arguments.json:
        write_json(arguments.json, {"kills": [*map(asdict, kills)], "jobs": [*map(asdict, outcomes)]})
    if failed:
        raise UserError(f"{len(failed)} jobs failed")


if __name__ == "__main__":
    run(main)
