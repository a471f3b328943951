"""Many inputs: making them, running the programs on them, judging, counting, keeping what failed."""

import contextlib
import gc
import json
import os
import random
import re
import shlex
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from tqdm import tqdm

from fuzzing.child import Run, import_as, run_program
from fuzzing.judge import judge
from fuzzing.kinds import KINDS, PREPARATION, SHARES, Attempt, Bench
from fuzzing.samples import make_samples

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Verdict:
    """How an input went.

    Attributes:
        kind: of the input.
        number: of the input.
        outcome: accepted, refused or failed.
        reason: why it failed.
        answer: last line that the program printed on stderr.
        seconds: CPU time of the program.
        folder: where it is kept, if it failed.
    """

    kind: str
    number: int
    outcome: str
    reason: str
    answer: str
    seconds: float
    folder: str = ""


class Campaign:
    """A series of inputs.

    Args:
        output: folder for samples and for what fails.
        seed: of all inputs.
        kinds: names of the kinds to draw from.
    """

    def __init__(self, output: Path, seed: int, kinds: list[str]) -> None:
        self.output, self.seed, self.kinds = output.resolve(), seed, kinds
        self.work = self.output / f".work{os.getpid()}"
        self.samples = self.work / "samples"

    def run(self, numbers: Sequence[int], jobs: int, minutes: float | None, verbose: bool = False) -> dict:
        """Run inputs.

        Args:
            numbers: of the inputs.
            jobs: how many at a time.
            minutes: stop then.
            verbose: print each verdict.

        Returns:
            Counts and times by kind, and the failures: JSON values.
        """
        tqdm.monitor_interval = 0  # no thread: the process is forked
        torch.set_num_threads(1)
        start = time.monotonic()
        try:
            self._prepare()
            verdicts = []
            for verdict in tqdm(self._verdicts(numbers, jobs), unit="input", total=len(numbers), disable=None):
                verdicts.append(verdict)
                if verbose:
                    print(f"{verdict.kind} {verdict.number} {verdict.outcome} {verdict.answer}", flush=True)
                if minutes is not None and time.monotonic() - start > 60 * minutes:
                    break
            else:
                if len(verdicts) < len(numbers):
                    raise SystemExit(f"only {len(verdicts)} of {len(numbers)} inputs ran; the error is above")
        finally:
            shutil.rmtree(self.work, ignore_errors=True)
        return self._table(verdicts, time.monotonic() - start)

    def _prepare(self) -> None:
        self.samples.mkdir(parents=True)
        logs = self.work / "logs"
        logs.mkdir()
        make_samples(self.samples)
        shutil.copyfile(self.samples / "scenes/Scene01/0001.mat", self.samples / "secret.mat")
        for attempt in PREPARATION:
            run = import_as(REPOSITORY / attempt.program, attempt.arguments, self.samples, logs)
            problem = judge(attempt.refuse, run, self.samples)
            if run.status or problem:
                raise SystemExit(f"a sound input fails: {_command(attempt)}: {problem or run.stderr[-2000:]}")
        gc.freeze()  # collections in a child would copy all pages that it shares with this process

    def _verdicts(self, numbers: Sequence[int], jobs: int) -> Iterator[Verdict]:
        if jobs == 1:
            yield from map(self.try_input, numbers)
            return
        # Not by multiprocessing: some libraries ask it whether a process was forked, and then warn.
        source, sink = os.pipe()
        workers = [self._fork_worker(numbers[job::jobs], sink) for job in range(jobs)]
        os.close(sink)
        try:
            with os.fdopen(source) as lines:
                for line in lines:
                    yield Verdict(**json.loads(line))
        finally:
            for worker in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGTERM)
                os.waitpid(worker, 0)

    def _fork_worker(self, numbers: Sequence[int], sink: int) -> int:
        worker = os.fork()
        if worker:
            return worker
        try:
            for number in numbers:
                os.write(sink, (json.dumps(asdict(self.try_input(number))) + "\n").encode())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)

    def try_input(self, number: int) -> Verdict:
        """Make an input, run its program on it, judge."""
        rng = random.Random(f"{self.seed}/{number}")
        (name,) = rng.choices(self.kinds, [SHARES[KINDS[kind]] for kind in self.kinds])
        folder, logs = self.work / f"input{number}", self.work / f"logs{number}"
        for path in (folder, logs):
            path.mkdir()
        try:
            attempt = KINDS[name](Bench(rng, self.samples, folder))
            run = run_program(REPOSITORY / attempt.program, attempt.arguments, folder, logs)
            problem = judge(attempt.refuse, run, folder)
            outcome = "failed" if problem else "refused" if run.status else "accepted"
            kept = self._keep(name, number, attempt, run, problem, folder) if problem else ""
            return Verdict(name, number, outcome, problem[:200], run.answer[:200], run.seconds, kept)
        finally:
            for path in (folder, logs):
                shutil.rmtree(path, ignore_errors=True)

    def _keep(self, kind: str, number: int, attempt: Attempt, run: Run, problem: str, folder: Path) -> str:
        kept = self.output / f"{kind}-{self.seed}-{number}"
        shutil.rmtree(kept, ignore_errors=True)
        folder.rename(kept)
        again = f"python scripts/fuzz.py --only {kind} --seed {self.seed} --number {number}"
        text = f"{again}\ncd {kept} && {_command(attempt)}\n\n{problem}\nexit code {run.status}\n\n"
        text += f"{run.stdout}\n{run.stderr}"
        (kept / "how.txt").write_text(text, errors="backslashreplace")
        return str(kept)

    def _table(self, verdicts: list[Verdict], seconds: float) -> dict:
        kinds = {}
        for name in self.kinds:
            own = [verdict for verdict in verdicts if verdict.kind == name]
            counts = {outcome: sum(x.outcome == outcome for x in own) for outcome in ("accepted", "refused", "failed")}
            kinds[name] = {"inputs": len(own), **counts, "seconds": round(sum(x.seconds for x in own), 1)}
            # Then nothing that was damaged has been read.
            if len(own) >= 20 and len({re.sub(r"\d+", "", verdict.answer) for verdict in own}) == 1:
                raise SystemExit(f"{name}: the fuzzer is at fault: all end with {own[0].answer}")
        failures = [asdict(verdict) for verdict in verdicts if verdict.outcome == "failed"]
        return {"seed": self.seed, "seconds": round(seconds, 1), "kinds": kinds, "failures": failures}


def _command(attempt: Attempt) -> str:
    return shlex.join(["python", str(REPOSITORY / attempt.program), *attempt.arguments])


def report(found: dict) -> str:
    """The table for the screen."""
    rows = [["kind", "inputs", "accepted", "refused", "failed", "CPU s"]]
    rows += [[name, *map(str, entry.values())] for name, entry in found["kinds"].items()]
    totals = zip(*(entry.values() for entry in found["kinds"].values()), strict=True)
    rows.append(["all", *(f"{sum(column):g}" for column in totals)])
    lines = [f"{row[0]:24}" + "".join(f"{cell:>10}" for cell in row[1:]) for row in rows]
    lines += [f"seed {found['seed']}, {found['seconds']:.0f} s"]
    lines += [f"{x['kind']} {x['number']}: {x['reason']}\n    see {x['folder']}/how.txt" for x in found["failures"]]
    return "\n".join(lines)
