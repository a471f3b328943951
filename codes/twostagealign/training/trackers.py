"""Curves and validation pictures of a training, for TensorBoard, Weights & Biases and MLflow.

Each is a set of hooks of the trainer. Only the first process writes. The packages are imported when a run starts.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from torch.utils.tensorboard import SummaryWriter

from twostagealign.data import read_picture
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import write_atomically
from twostagealign.training.trainer import Hooks, Trainer
from twostagealign.training.validation import ClipQuality


class TensorBoard(Hooks):
    """Event files in the folder `tb` of the experiment."""

    def __init__(self) -> None:
        self._writer: SummaryWriter | None = None

    @contextmanager
    def on_run(self, trainer: Trainer) -> Iterator[None]:
        """Open the event file; what an interrupted run wrote after its last checkpoint is hidden."""
        if trainer.ranks.rank > 0:
            yield
            return
        with SummaryWriter(trainer.experiment.tensorboard, purge_step=trainer.progress.iteration + 1) as writer:
            self._writer = writer
            yield

    def on_curves(self, trainer: Trainer, curves: Mapping[str, float]) -> None:
        """Draw points."""
        assert self._writer
        try:
            for name, value in curves.items():
                self._writer.add_scalar(name, value, trainer.progress.iteration)
            self._writer.flush()
        except OSError as error:
            raise UserError(f"{trainer.experiment.tensorboard}: cannot be written ({error.strerror})") from error

    def on_validation(self, trainer: Trainer, qualities: Sequence[ClipQuality], folder: Path) -> None:
        """Show the pictures."""
        if self._writer:
            for path in sorted(folder.glob("*.png")):
                picture = read_picture(path)
                self._writer.add_image(f"val/{path.stem}", picture, trainer.progress.iteration, dataformats="HWC")


class WandB(Hooks):
    """A run of Weights & Biases, in the folder `wandb` of the experiment. A resumed training continues its run.

    Args:
        options: options of the experiment, JSON values.
        project: name of the project.
        entity: user or team; None: that of the login.
        mode: "offline" sends nothing (`wandb sync` does later); "online" needs a login.
    """

    def __init__(
        self, options: Mapping[str, Any], project: str, entity: str | None, mode: Literal["online", "offline"]
    ) -> None:
        require("wandb", "logger.wandb")
        self.options, self.project, self.entity, self.mode = options, project, entity, mode
        self._run: Any = None

    @contextmanager
    def on_run(self, trainer: Trainer) -> Iterator[None]:
        """Start or continue the run."""
        if trainer.ranks.rank > 0:
            yield
            return
        import wandb

        folder = trainer.experiment.folder
        with wandb.init(
            project=self.project,
            entity=self.entity,
            name=folder.name,
            id=_lasting_id(folder / "wandb_id.txt", secrets.token_hex(4)),
            resume="allow",
            mode=self.mode,
            dir=str(folder),
            config=dict(self.options),
        ) as self._run:
            yield

    def on_curves(self, trainer: Trainer, curves: Mapping[str, float]) -> None:
        """Draw points."""
        self._run.log(dict(curves), step=trainer.progress.iteration)

    def on_validation(self, trainer: Trainer, qualities: Sequence[ClipQuality], folder: Path) -> None:
        """Show the pictures."""
        if self._run:
            import wandb

            pictures = {f"val/{path.stem}": wandb.Image(str(path)) for path in sorted(folder.glob("*.png"))}
            self._run.log(pictures, step=trainer.progress.iteration)


class MLflow(Hooks):
    """A run of MLflow. A resumed training continues its run.

    Args:
        options: content of options.yml, kept as an artifact.
        experiment: name of MLflow's experiment.
        uri: where runs are kept: a server, or "sqlite:///FILE"; None: `mlflow.db` beside the experiment's folder, with
            the artifacts in `mlruns`.
    """

    def __init__(self, options: str, experiment: str, uri: str | None) -> None:
        require("mlflow", "logger.mlflow")
        self.options, self.experiment, self.uri = options, experiment, uri
        self._client: Any = None
        self._run = ""

    @contextmanager
    def on_run(self, trainer: Trainer) -> Iterator[None]:
        """Start or continue the run."""
        if trainer.ranks.rank > 0:
            yield
            return
        from mlflow import MlflowClient

        folder = trainer.experiment.folder
        root = folder.parent.absolute()
        self._client = MlflowClient(tracking_uri=self.uri or f"sqlite:///{root / 'mlflow.db'}")
        known = folder / "mlflow_run.txt"
        if known.is_file():
            self._run = known.read_text(encoding="utf-8").strip()
            self._client.update_run(self._run, status="RUNNING")
        else:
            self._run = _lasting_id(known, self._start(folder.name, None if self.uri else (root / "mlruns").as_uri()))
        self._client.log_text(self._run, self.options, "options.yml")
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        finally:
            self._client.set_terminated(self._run, status)

    def _start(self, name: str, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self.experiment, artifacts)
        run: str = self._client.create_run(experiment, run_name=name).info.run_id
        return run

    def on_curves(self, trainer: Trainer, curves: Mapping[str, float]) -> None:
        """Draw points; characters that MLflow does not take become underscores."""
        for name, value in curves.items():
            allowed = re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
            self._client.log_metric(self._run, allowed, value, step=trainer.progress.iteration)

    def on_validation(self, trainer: Trainer, qualities: Sequence[ClipQuality], folder: Path) -> None:
        """Keep the pictures."""
        if self._client:
            for path in sorted(folder.glob("*.png")):
                self._client.log_artifact(self._run, str(path), f"val/{trainer.progress.iteration}")


def require(package: str, option: str) -> None:
    """Raise `UserError` if an optional package is not installed."""
    if find_spec(package) is None:
        raise UserError(f"{option}: needs the package {package}; pip install 'twostagealign[{package}]'")


def _lasting_id(path: Path, new: str) -> str:
    """The identifier in a file of the experiment; a new one if there is no such file, which is then written."""
    if not path.is_file():
        write_atomically(path, lambda temporary: temporary.write_text(f"{new}\n", encoding="utf-8"))
    return path.read_text(encoding="utf-8").strip()
