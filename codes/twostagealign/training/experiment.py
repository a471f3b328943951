"""The folder that a training run lives in."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from twostagealign.models.checkpoint import load_torch_file, save_torch_file, save_weights
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import link_or_copy, output_folder, sha256, write_atomically
from twostagealign.training.state import TrainingState, check_state


class Experiment:
    """experiments/NAME with its models, training states, pictures, curves and log; `open` creates it.

    Args:
        root: folder of all experiments.
        name: name of the experiment.
        checkpoints: how many of the newest checkpoints are kept; None: all.
    """

    def __init__(self, root: Path, name: str, checkpoints: int | None = None) -> None:
        self.folder = root / name
        self.checkpoints = checkpoints
        self.models = self.folder / "models"
        self.states = self.folder / "training_states"
        self.visualization = self.folder / "visualization"
        self.tensorboard = self.folder / "tb"

    def open(self, keep: bool) -> None:
        """Create the folders.

        Args:
            keep: go on in an existing folder. Otherwise one that exists is renamed to NAME_archived_TIME, so nothing is
                overwritten.

        Raises:
            UserError: the folder cannot be renamed or written.
        """
        if self.folder.exists() and not keep:
            self._archive()
        output_folder(self.folder)
        for folder in (self.models, self.states, self.visualization):
            folder.mkdir(exist_ok=True)
            for rest in folder.glob(".*.part"):  # of a run that was killed while it wrote
                rest.unlink()

    def _archive(self) -> None:
        stem = f"{self.folder.name}_archived_{time.strftime('%Y%m%d_%H%M%S')}"
        names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
        free = next(path for path in map(self.folder.with_name, names) if not path.exists())
        try:
            self.folder.rename(free)
        except OSError as error:
            raise UserError(f"{self.folder}: cannot be renamed to {free.name} ({error.strerror})") from error

    @contextmanager
    def log_to_file(self, logger: logging.Logger) -> Iterator[None]:
        """Append the messages of `logger`, from level INFO on, to train.log."""
        handler = _LogFile(self.folder / "train.log", encoding="utf-8", errors="backslashreplace")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)
            handler.close()

    def save(self, iteration: int, weights: dict[str, torch.Tensor], metadata: dict[str, Any], state: dict) -> None:
        """Write weights and training state of an iteration; remove the oldest ones if there are too many.

        The training state goes last: a state on disk means that its weights are there too, and its checksum, in the
        format of `sha256sum`.

        Args:
            iteration: number of the iteration.
            weights: state dict of the restorer, for restoration.
            metadata: metadata of the weights; see `save_weights`.
            state: content of the training state; see `TrainingState`.

        Raises:
            UserError: a number is not finite, or a file cannot be written, as on a full disk; the files of earlier
                iterations are whole.
        """
        model, path = self._model(iteration), self._state(iteration)
        check_state(state, iteration, path)
        save_weights(model, weights, metadata | {"iteration": iteration})
        link_or_copy(model, self.models / "net_latest.safetensors")

        def write(temporary: Path) -> None:
            save_torch_file(temporary, state)
            # Before the state is in its place: there is never a state without its checksum.
            line = f"{sha256(temporary)}  {path.name}\n"
            write_atomically(_checksum(path), lambda checksum: checksum.write_text(line))

        write_atomically(path, write)
        for old in self.saved_iterations()[self.checkpoints :] if self.checkpoints else []:
            # The state first: one without its weights would be a trap.
            for file in (self._state(old), _checksum(self._state(old)), self._model(old)):
                file.unlink(missing_ok=True)

    def save_best(self, iteration: int, weights: dict[str, torch.Tensor], metadata: dict[str, Any]) -> None:
        """Write the weights that were best in validation; they replace earlier ones."""
        save_weights(self.models / "net_best.safetensors", weights, metadata | {"iteration": iteration})

    def saved_iterations(self) -> list[int]:
        """Iterations that have a training state, the newest first."""
        names = (path.stem for path in self.states.glob("*.state"))
        return sorted((int(name) for name in names if name.isdecimal()), reverse=True)

    def newest_state(self) -> tuple[TrainingState | None, Path | None, list[str]]:
        """Training state to go on from: the newest one that can be used.

        Returns:
            The state and its file, None and None if there is none; and a line for each newer one that cannot be used.

        Raises:
            UserError: there are training states, and none can be used.
        """
        problems: list[str] = []
        for iteration in self.saved_iterations():
            path = self._state(iteration)
            try:
                return _read_state(path, iteration), path, problems
            except UserError as error:
                problems.append(str(error))
        if problems:
            raise UserError(f"{problems[0]}; there is no older training state to go on from")
        return None, None, problems

    def _model(self, iteration: int) -> Path:
        return self.models / f"net_{iteration}.safetensors"

    def _state(self, iteration: int) -> Path:
        return self.states / f"{iteration}.state"


class _LogFile(logging.FileHandler):
    """Stops the run where the log cannot be written, as on a full disk, instead of printing tracebacks."""

    def handleError(self, record: logging.LogRecord) -> None:
        raise UserError(f"{self.baseFilename}: cannot be written ({sys.exception()})") from None


def _checksum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _read_state(path: Path, iteration: int) -> TrainingState:
    checksum = _checksum(path)
    expected = checksum.read_text(encoding="utf-8", errors="replace").split() if checksum.is_file() else []
    if not expected:
        raise UserError(f"{path}: {checksum.name}, its checksum, is missing or empty")
    if sha256(path) != expected[0]:
        raise UserError(f"{path}: damaged ({path.stat().st_size} bytes): differs from its checksum")
    return check_state(load_torch_file(path), iteration, path)
