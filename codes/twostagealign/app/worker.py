"""The one thread that reads and restores, and the jobs that wait for it."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType

import torch

import twostagealign as tsa

logger = logging.getLogger(__name__)


class Stopped(Exception):
    """The job was asked to end."""


class Job:
    """Work that a session asked for.

    Attributes:
        message: what is being done, for display.
        done: number of finished tiles.
        total: number of all tiles; 0 until it is known.
        error: what was wrong, one line; None unless the job failed.
        notes: warnings that came up, one line each.

    Args:
        run: the work.
        at_end: called when the job has ended, also if it was stopped before it began.
    """

    def __init__(self, run: "Callable[[Job], object]", at_end: Callable[[], object] = lambda: None) -> None:
        self.message = ""
        self.done = self.total = 0
        self.error: str | None = None
        self.notes: list[str] = []
        self._begun = False
        self._run = run
        self._at_end = at_end
        self._stop = threading.Event()
        self._first: tuple[float, int] | None = None  # time and number of the first finished tiles

    @property
    def stopped(self) -> bool:
        """Whether the job was asked to end."""
        return self._stop.is_set()

    @property
    def given_up(self) -> bool:
        """Whether the job was stopped before it began, which it never does then."""
        return self.stopped and not self._begun

    def stop(self) -> None:
        """Ask the job to end at its next step. A job that waits never begins."""
        self._stop.set()

    def step(self, message: str) -> None:
        """Say what is done next; raise `Stopped` if the job was asked to end."""
        self.message = message
        if self.stopped:
            raise Stopped

    def progress(self, done: int, total: int) -> None:
        """Note how many tiles are finished; raise `Stopped` if the job was asked to end."""
        self.done, self.total = done, total
        if done and self._first is None:
            self._first = (time.monotonic(), done)
        self.step("restoring" if done else "matching patches")

    @property
    def seconds_left(self) -> float | None:
        """Estimated time to the last tile, seconds; None while there is no estimate."""
        if self._first is None or self.done == self._first[1]:
            return None
        start, done = self._first
        return (time.monotonic() - start) / (self.done - done) * (self.total - self.done)

    def __call__(self) -> None:
        """Do the work, in the thread of the worker."""
        with _Notes(self.notes):
            try:
                self.step("starting")
                self._begun = True
                self._run(self)
            except Stopped:
                pass
            except (tsa.UserError, ValueError) as error:
                self.error = str(error)
            except MemoryError:
                self.error = "not enough memory for this burst; take fewer frames"
            except Exception:
                logger.exception("a job failed")
                self.error = "an error of the program, which the terminal describes; the page can be used on"
            finally:
                self._at_end()


class Worker:
    """Does one job after the other, in the order in which they were asked for."""

    def __init__(self) -> None:
        cores = torch.get_num_threads()
        self._executor = ThreadPoolExecutor(1, "work", initializer=torch.set_num_threads, initargs=(cores,))
        self._waiting: list[Job] = []

    def submit(self, job: Job) -> "Callable[[float], bool]":
        """Put a job at the end of the queue.

        Returns:
            A function that waits until the job has ended, at most some seconds, and says whether it has. A job that
            is stopped while it waits has ended.
        """
        self._waiting.append(job)

        def run() -> None:
            try:
                job()
            finally:
                self._waiting.remove(job)

        future = self._executor.submit(run)
        return lambda seconds: bool(wait([future], seconds).done) or job.given_up

    def before(self, job: Job) -> int:
        """Count the jobs that come before a job, with the one that is being done."""
        waiting = [other for other in list(self._waiting) if other is job or not other.given_up]
        return waiting.index(job) if job in waiting else 0

    def close(self) -> None:
        """Stop all jobs, and wait for the one that is being done."""
        for job in list(self._waiting):
            job.stop()
        self._executor.shutdown()


class _Notes(logging.Handler):
    """Collects the package's warnings of this thread."""

    def __init__(self, notes: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._notes = notes
        self._thread = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread and record.levelno == logging.WARNING:
            self._notes.append(record.getMessage())

    def __enter__(self) -> None:
        logging.getLogger("twostagealign").addHandler(self)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger("twostagealign").removeHandler(self)
