"""Weights & Biases and MLflow: stand-ins that write down how they are called, and the packages where installed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from twostagealign.options import load_options
from twostagealign.runtime.errors import UserError
from twostagealign.training.build import build_trainer

WANDB = """
import json

class Run:
    def __init__(self, arguments):
        self.file = open(f"{arguments['dir']}/wandb.jsonl", "a")
        self.write("init", {name: value for name, value in arguments.items() if name != "dir"})
    def write(self, *entry):
        print(json.dumps(entry), file=self.file, flush=True)
    def log(self, values, step):
        self.write("log", values, step)
    def __enter__(self):
        return self
    def __exit__(self, kind, error, trace):
        self.write("finish", None if error is None else str(error))

def init(**arguments):
    return Run(arguments)

def Image(path):
    return path
"""

MLFLOW = """
import json
from types import SimpleNamespace

class MlflowClient:
    def __init__(self, tracking_uri):
        self.file = open(tracking_uri.removeprefix("sqlite:///"), "a")
    def get_experiment_by_name(self, name):
        return None
    def create_run(self, experiment, run_name):
        self.write("create_run", experiment, run_name)
        return SimpleNamespace(info=SimpleNamespace(run_id="run7"))
    def create_experiment(self, name, artifacts):
        return f"{name} in {artifacts}"
    def write(self, *entry):
        print(json.dumps(entry), file=self.file, flush=True)
    def __getattr__(self, name):
        return lambda *values, **named: self.write(name, *values, named)
"""

OPTIONS = ["train:total_iter=2", "val={every: 2, pictures: 1, search_window: 16}", "logger:print_every=1"]
BOTH = "{print_every: 1, checkpoint_every: 2, tensorboard: false, wandb: {project: p, entity: me}, mlflow: {}}"


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules `wandb` and `mlflow` that write their calls to files."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "wandb.py").write_text(WANDB)
    (folder / "mlflow.py").write_text(MLFLOW)
    monkeypatch.syspath_prepend(folder)
    before = {name: sys.modules.pop(name) for name in ("wandb", "mlflow") if name in sys.modules}
    yield
    for name in ("wandb", "mlflow"):
        sys.modules.pop(name, None)
    sys.modules.update(before)


def train(experiment: Path, *options: str, resume: bool = False) -> Path:
    """Train, and return the folder of the experiment."""
    trainer = build_trainer(load_options(experiment, [*OPTIONS, *options]), resume)
    trainer.run()
    return trainer.experiment.folder


def calls(path: Path, name: str) -> list[list]:
    return [entry[1:] for entry in map(json.loads, path.read_text().splitlines()) if entry[0] == name]


def test_what_the_trackers_are_told(tiny_experiment, stand_ins) -> None:
    folder = train(tiny_experiment, f"logger={BOTH}")
    train(tiny_experiment, f"logger={BOTH}", "train:total_iter=4", resume=True)

    path = folder / "wandb.jsonl"
    first, second = (arguments for (arguments,) in calls(path, "init"))
    assert first["config"]["train"]["total_iter"] == 2
    assert first.items() >= {"project": "p", "entity": "me", "name": "tiny", "mode": "offline"}.items()
    assert (first["resume"], first["id"]) == ("allow", second["id"])
    steps = {step: values for values, step in calls(path, "log") if "train/loss" in values}
    assert list(steps) == [1, 2, 3, 4]
    assert all(isinstance(value, float) for values in steps.values() for value in values.values())
    (psnr,) = (values["val/psnr"] for values, step in calls(path, "log") if step == 4 and "val/psnr" in values)
    assert {"val/000": str(folder / "visualization" / "4" / "000.png")} in [x for x, _ in calls(path, "log")]
    assert calls(path, "finish") == [[None], [None]]

    path = folder.parent / "mlflow.db"
    ((experiment, name),) = calls(path, "create_run")
    assert (experiment, name) == (f"twostagealign in {(folder.parent / 'mlruns').as_uri()}", "tiny")
    metrics = calls(path, "log_metric")
    assert {run for run, *_ in metrics} == {"run7"}
    assert ["run7", "val/psnr", psnr, {"step": 4}] in metrics
    assert [named["step"] for _, metric, _, named in metrics if metric == "train/loss"] == [1, 2, 3, 4]
    assert calls(path, "log_artifact")[-1][1:] == [str(folder / "visualization" / "4" / "000.png"), "val/4", {}]
    assert "total_iter: 2" in calls(path, "log_text")[0][1]
    assert [entry[1] for entry in calls(path, "set_terminated")] == ["FINISHED", "FINISHED"]
    assert not (folder / "tb").exists()


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_package_that_is_not_installed(tiny_experiment, monkeypatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    options = load_options(tiny_experiment, [f"logger:{package}={{}}"])
    with pytest.raises(UserError) as caught:
        build_trainer(options)
    install = f"pip install 'twostagealign[{package}]'"
    assert str(caught.value) == f"logger.{package}: needs the package {package}; {install}"


def test_weights_and_biases_offline(tiny_experiment) -> None:
    pytest.importorskip("wandb")
    folder = train(tiny_experiment, "logger:wandb={}")
    train(tiny_experiment, "logger:wandb={}", "train:total_iter=4", resume=True)
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    (name,) = (folder / "wandb_id.txt").read_text().split()
    assert len(runs) == 2
    assert all(run.name.endswith(name) for run in runs)


def test_mlflow_in_a_file(tiny_experiment) -> None:
    mlflow = pytest.importorskip("mlflow")
    folder = train(tiny_experiment, "logger:mlflow={}")
    train(tiny_experiment, "logger:mlflow={}", "train:total_iter=4", resume=True)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder.parent / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("twostagealign").experiment_id])
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")] == [1, 2, 3, 4]
    assert run.info.status == "FINISHED"
    assert {entry.path for entry in client.list_artifacts(run.info.run_id)} == {"options.yml", "val"}
