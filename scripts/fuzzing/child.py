"""One run of a program in a forked child, with limits of time and memory, and what it did that it must not do.

The parent has imported what the programs import, so that a run costs milliseconds.
"""

import contextlib
import importlib
import os
import resource
import runpy
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

CPU_SECONDS = 20
WALL_SECONDS = 90
"""Long: other programs may keep the machine busy. What hangs without computing ends here."""

MEMORY = 3 * 2**30
"""Bytes of address space that a run may take beyond what its parent has."""

FILE_BYTES = 256 * 2**20

_STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn")
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")


@dataclass(frozen=True)
class Run:
    """How a run ended.

    Attributes:
        status: exit code; minus the number of the signal that ended it.
        stdout: what it printed.
        stderr: likewise, on stderr.
        offences: what it did that no input may make it do, a line each.
        seconds: CPU time.
        timed_out: whether it was ended because it took too long.
    """

    status: int
    stdout: str
    stderr: str
    offences: tuple[str, ...]
    seconds: float
    timed_out: bool

    @property
    def answer(self) -> str:
        """Last line on stderr."""
        return (self.stderr.replace("\r", "\n").strip().splitlines() or [""])[-1]


def import_as(program: Path, arguments: Sequence[str], folder: Path, logs: Path) -> Run:
    """Import here what a program imports, also late, so that its later runs do not have to.

    Args:
        program: see `run_program`.
        arguments: see `run_program`.
        folder: see `run_program`.
        logs: see `run_program`.

    Returns:
        How the run ended that showed it.
    """
    run = run_program(program, arguments, folder, logs)
    for name in (logs / "modules").read_text().split():
        with contextlib.suppress(Exception):
            importlib.import_module(name)
    return run


def run_program(
    program: Path, arguments: Sequence[str], folder: Path, logs: Path, wall_seconds: float = WALL_SECONDS
) -> Run:
    """Run a program of the project as `python PROGRAM ARGUMENTS` would, in a child.

    Args:
        program: the script.
        arguments: of its command line.
        folder: current folder of the run, the only one that it may change.
        logs: folder outside `folder` for its output.
        wall_seconds: it is ended after this time.

    Returns:
        How it ended.
    """
    for name in ("stdout", "stderr", "offences"):  # even if the child ends before it opens them
        (logs / name).write_bytes(b"")
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _be_child(program, arguments, folder, logs)
    deadline = time.monotonic() + wall_seconds
    pause = 0.001
    while True:
        found, status, usage = os.wait4(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(pause)
        pause = min(pause * 1.2, 0.02)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what it has left running
    code = os.waitstatus_to_exitcode(status)
    timed_out = deadline == float("inf") or code == -signal.SIGXCPU
    texts = [(logs / name).read_text(errors="replace") for name in ("stdout", "stderr", "offences")]
    offences = tuple(dict.fromkeys(texts[2].splitlines()))
    return Run(code, texts[0], texts[1], offences, usage.ru_utime + usage.ru_stime, timed_out)


def _be_child(program: Path, arguments: Sequence[str], folder: Path, logs: Path) -> None:
    status, known = 70, set(sys.modules)
    try:
        torch.set_num_threads(
            1
        )  # repairs PyTorch's pool of threads after a fork, before two threads of a program try to
        os.setsid()
        os.chdir(folder)
        for name in ("TMPDIR", "MPLCONFIGDIR", "TORCHINDUCTOR_CACHE_DIR"):
            os.environ[name] = str(logs)
        tempfile.tempdir = str(logs)
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(logs / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, number)
            os.close(file)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False, errors="backslashreplace")  # as the interpreter has it
        _limit()
        _watch((folder, logs), os.open(logs / "offences", os.O_WRONLY | os.O_CREAT | os.O_TRUNC))
        sys.argv = [str(program), *arguments]
        sys.path[0] = str(program.parent)
        runpy.run_path(str(program), run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
            (logs / "modules").write_text("\n".join(set(sys.modules) - known))
        os._exit(status)


def _limit() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead
    used = _address_space()
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    for what, amount in (
        (resource.RLIMIT_AS, used + MEMORY),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (amount, amount))


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _watch(folders: Sequence[Path], report: int) -> None:
    """Report started programs, connections, and changes outside `folders`."""
    allowed = (*(f"{folder.resolve()}/" for folder in folders), "/dev/null/", "/dev/shm/", "/proc/self/")

    def inside(path: object) -> bool:
        if isinstance(path, int):
            return True
        text = os.path.abspath(os.fsdecode(path))  # type: ignore[arg-type]
        return f"{text}/".startswith(allowed)

    def hook(event: str, arguments: tuple) -> None:
        offence = None
        if event in _STARTS:
            offence = f"started a program: {arguments[0]!r:.100}"
        elif event == "socket.connect" and not (isinstance(arguments[1], str) and inside(arguments[1])):
            offence = f"connected to {arguments[1]!r:.100}"
        elif event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes and not inside(path):
                offence = f"wrote {path!r:.200}"
        elif event in _CHANGES and isinstance(arguments[0], (str, bytes, os.PathLike)) and not inside(arguments[0]):
            offence = f"{event} {arguments[0]!r:.200}"
        if offence:
            os.write(report, (offence.replace("\n", " ") + "\n").encode(errors="replace"))

    sys.addaudithook(hook)
