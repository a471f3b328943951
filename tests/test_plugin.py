"""A package outside the tree trains, resumes, is tested and restores, each in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from twostagealign.data import bundled_picture, write_picture
from twostagealign.evaluation.results import read_results
from twostagealign.models.checkpoint import load_torch_file, load_weights

REPOSITORY = Path(__file__).parents[1]

TRAINING = """
name: waves
device: cpu
path: {{experiments_root: {root}}}
network: {{type: ShallowNet, channels: 4}}
features: {{type: LowResolutionFeatures, channels: 8}}
matching: {{search_window: null}}
datasets:
  train: {{type: Waves}}
  val: {{type: my_lab.data.Waves, first: 8, length: 1}}
train:
  total_iter: 2
  patch_size: 8
  workers: 0
  scheduler: {{periods: [4], restart_weights: [1], eta_min: 1e-7}}
  losses: [{{type: Charbonnier, space: linear}}, {{type: Gradients, weight: 0.5}}]
val: {{every: 2, pictures: 0, metrics: [psnr, mean_error]}}
logger: {{print_every: 1, checkpoint_every: 2, tensorboard: false}}
"""

EVALUATION = """
name: Waves
dataset: {type: my_lab.data.WaveClips, size: 48}
data: nothing
frames: 3
metrics: [psnr, my_lab.metrics.mean_error]
tiling: {patch: 16, halo: 4, search_window: 16}
"""

# One process imports the programs, which takes seconds. Each of them then runs in a child, as if it had been started.
DRIVER = """
import json, os, sys
from twostagealign.cli import evaluation, restore, train
from twostagealign.cli.run import run

programs = {"train": train.main, "test": evaluation.main, "restore": restore.main}
for name, arguments, output in json.loads(sys.argv[1]):
    child = os.fork()
    if not child:
        for stream in (1, 2):
            os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
        sys.argv = [name, *arguments]
        run(programs[name])
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Runs:
    """What five programs have written and answered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(REPOSITORY / "tests" / "data" / "plugin" / "my_lab", folder / "code" / "my_lab")
        with (folder / "code" / "my_lab" / "__init__.py").open("a") as file:
            file.write('\nprint("my_lab is imported", flush=True)\n')
        (folder / "train.yml").write_text(TRAINING.format(root=folder / "experiments"))
        (folder / "test.yml").write_text(EVALUATION)
        for number in range(3):
            write_picture(folder / "clip" / f"{number}.png", bundled_picture("coffee")[:40, number : 48 + number])
        self.experiment = folder / "experiments" / "waves"
        checkpoint = str(self.experiment / "models" / "net_latest.safetensors")
        plugin, train = ["--import", "my_lab"], ["-opt", "train.yml"]
        resume = ["-opt", str(self.experiment / "options.yml")]  # says where the classes are
        restore = [
            "--input",
            "clip",
            "--simulate",
            "low",
            "--frames",
            "3",
            "--device",
            "cpu",
            "--checkpoint",
            checkpoint,
        ]
        programs = {
            "trained": ("train", [*train, *plugin]),
            "resumed": ("train", [*resume, "--auto_resume", "--force_yml", "train:total_iter=4"]),
            "tested": ("test", ["-opt", "test.yml", "--checkpoint", checkpoint, "--device", "cpu", *plugin]),
            "restored": ("restore", [*restore, "--output", "restored", "--import", "my_lab.nets"]),
            "refused": ("restore", [*restore, "--output", "refused"]),
        }
        tasks = json.dumps([[name, arguments, f"{key}.txt"] for key, (name, arguments) in programs.items()])
        path = os.pathsep.join([str(REPOSITORY / "codes"), str(folder / "code")])
        found = subprocess.run(
            [sys.executable, "-c", DRIVER, tasks],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not found.stderr
        self.codes = dict(zip(programs, map(int, found.stdout.split()), strict=True))
        self.printed = {key: (folder / f"{key}.txt").read_text() for key in programs}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "clip").mkdir()
    return Runs(folder)


def test_it_trains_and_resumes(runs: Runs) -> None:
    assert (runs.codes["trained"], runs.codes["resumed"]) == (0, 0), runs.printed
    log = (runs.experiment / "train.log").read_text()
    assert "iteration 2: lr" in log.partition("from iteration 2")[0]
    assert "iteration 4: lr" in log.partition("from iteration 2")[2]
    assert "Gradients" in log
    assert "mean_error" in log
    state = load_torch_file(runs.experiment / "training_states" / "4.state")
    assert state["metadata"]["network"] == {"type": "my_lab.nets.ShallowNet", "channels": 4}
    assert load_weights(runs.experiment / "models" / "net_latest.safetensors")[1]["iteration"] == 4


def test_it_is_tested(runs: Runs) -> None:
    assert runs.codes["tested"] == 0, runs.printed["tested"]
    results = read_results(next((runs.folder / "results").glob("*/results.json")))
    assert results.checkpoints[0].network == "ShallowNet"
    assert [clip.clip for clip in results.runs[0].clips] == ["0", "1"]
    assert 0 < results.runs[0].mean.all.others["my_lab.metrics.mean_error"] < 1
    assert "mean_error" in runs.printed["tested"]


def test_it_restores(runs: Runs) -> None:
    assert runs.codes["restored"] == 0, runs.printed["restored"]
    assert sorted(path.name for path in (runs.folder / "restored").glob("*.png"))


def test_its_checkpoint_imports_nothing_by_itself(runs: Runs) -> None:
    """The module prints when it is imported."""
    assert all("my_lab is imported" in runs.printed[key] for key in ("trained", "resumed", "tested", "restored"))
    assert runs.codes["refused"] == 2
    checkpoint = runs.experiment / "models" / "net_latest.safetensors"
    found = f"error: {checkpoint}: type: found 'my_lab.nets.ShallowNet', a network outside this package; "
    assert runs.printed["refused"] == f"{found}to use its code, pass --import my_lab.nets\n"
    assert not (runs.folder / "refused").exists()
