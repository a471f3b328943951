"""The folder that a training run lives in."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from twostagealign.engine.checkpoint import load_torch_file, save_torch_file, save_weights
from twostagealign.errors import UserError
from twostagealign.files import output_folder


class Experiment:
    """experiments/NAME with its models, training states, pictures, curves and log.

    Args:
        root: folder of all experiments.
        name: of this one.
        keep: go on in an existing folder. Otherwise one that exists is renamed to NAME_archived_TIME, so that nothing
            is overwritten.

    Raises:
        UserError: the folder cannot be written.
    """

    def __init__(self, root: Path, name: str, keep: bool) -> None:
        self.folder = root / name
        if self.folder.exists() and not keep:
            self._archive()
        output_folder(self.folder)
        self.models = self.folder / "models"
        self.states = self.folder / "training_states"
        self.latest = self.states / "latest.state"
        self.visualization = self.folder / "visualization"
        self.tensorboard = self.folder / "tb"
        for folder in (self.models, self.states, self.visualization):
            folder.mkdir(exist_ok=True)

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
        """Append what `logger` says, from level INFO on, to train.log."""
        handler = logging.FileHandler(self.folder / "train.log", encoding="utf-8")
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
        """Write weights and training state of an iteration, and both again under the name `latest`.

        The training state goes last: a state on disk means that its weights are there too.
        """
        for label in (iteration, "latest"):
            save_weights(self.models / f"net_{label}.safetensors", weights, metadata | {"iteration": iteration})
        for label in (iteration, "latest"):
            save_torch_file(self.states / f"{label}.state", state)

    def latest_state(self) -> dict[str, Any] | None:
        """Training state to go on from; None if there is none.

        Raises:
            UserError: the file is damaged.
        """
        if not self.latest.exists():
            return None
        state = load_torch_file(self.latest)
        if not isinstance(state, dict) or "iteration" not in state:
            raise UserError(f"{self.latest}: holds no training state")
        return state
