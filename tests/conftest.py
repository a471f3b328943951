"""What several tests share: a network that is small enough to train in a moment, and an experiment around it."""

import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

# The tensors of the tests are small: a second thread only waits, on a busy machine for long. Children inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from twostagealign.archs import LowResolutionFeatures, TwoStageNet
from twostagealign.matching import Matcher, Search
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import save_weights

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

CHROMIUM_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

collect_ignore = ["data"]  # a package in it is imported by other processes only

TINY_EXPERIMENT = """
name: tiny
device: cpu
path: {{experiments_root: {root}}}
network: {{type: TwoStageNet, nf: 8, groups: 4}}
features: {{type: LowResolutionFeatures, channels: 8}}
matching: {{search_window: 16, final_temperature_from: 4}}
datasets:
  train: {{type: StillsInMotion, source: skimage, exclude: [coffee], frames: 3, size: 48, max_shift: 6, seed: 1}}
  val: {{type: StillsInMotion, source: skimage, include: [coffee], frames: 3, size: 48, max_shift: 4, seed: 2,
    length: 1}}
train:
  total_iter: 6
  batch_size: 2
  patch_size: 8
  workers: 0
  optimizer: {{lr: 1e-3, features_lr: 1e-3}}
  scheduler: {{periods: [4, 96], restart_weights: [1, 0.5], eta_min: 1e-7}}
  ema_decay: 0.9
  losses:
  - {{type: Charbonnier, space: linear}}
  - {{type: Interpolation, space: linear}}
  - {{type: Charbonnier, space: srgb}}
  - {{type: Interpolation, space: srgb}}
  - {{type: MatchSupervision, until: 4}}
  - {{type: OneHot}}
val: {{every: 100, pictures: 1, search_window: 16}}
logger: {{print_every: 2, checkpoint_every: 2, tensorboard: false}}
"""

NODES = {
    "network": {"type": "TwoStageNet", "nf": 8, "groups": 4},
    "features": {"type": "LowResolutionFeatures", "channels": 8},
}


def write_tiny_experiment(folder: Path) -> Path:
    """Option file in `folder` of a training that takes a second; its results go to `folder / "experiments"`."""
    path = folder / "tiny.yml"
    path.write_text(TINY_EXPERIMENT.format(root=folder / "experiments"))
    return path


@pytest.fixture
def tiny_experiment(tmp_path: Path) -> Path:
    """Option file of a training that takes a second; its results go to `tmp_path / "experiments"`."""
    return write_tiny_experiment(tmp_path)


@pytest.fixture(scope="module")
def module_experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_experiment` for all tests of a file."""
    return write_tiny_experiment(tmp_path_factory.mktemp("module"))


NEAR = Search(16)


@pytest.fixture(scope="session")
def make_restorer() -> Callable[..., TwoStageRestorer]:
    """Makes restorers whose weights are all random, the offsets' too, and the same every time."""

    def make(seed: int = 0, nf: int = 8, groups: int = 4, channels: int = 8, search: Search = NEAR) -> TwoStageRestorer:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            restorer = TwoStageRestorer(TwoStageNet(nf, groups), LowResolutionFeatures(channels), Matcher(4, search))
            for name, parameter in restorer.named_parameters():
                if "predictor" in name or name.endswith("bias"):
                    torch.nn.init.normal_(parameter, std=0.01)
        return restorer.eval()

    return make


@pytest.fixture(scope="session")
def nodes() -> dict[str, dict[str, object]]:
    """Type nodes of the two networks that `make_restorer` makes."""
    return NODES


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory, make_restorer: Callable[..., TwoStageRestorer]) -> Path:
    """Checkpoint of `make_restorer()`."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    save_weights(path, make_restorer().state_dict(), NODES)
    return path


@pytest.fixture(scope="session")
def torchrun_jobs() -> Iterator[ModuleType]:
    """The module scripts/torchrun_jobs.py; the processes of its jobs find the package in this checkout."""
    repository = Path(__file__).parents[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository / "scripts")
        patch.setenv("PYTHONPATH", str(repository / "codes"))
        yield importlib.import_module("torchrun_jobs")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Chrome]":
    """Headless Chromium; the test is skipped where it is not installed."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver_binary = shutil.which("chromedriver")
    if not (binary and driver_binary):
        pytest.skip("chromium and chromedriver are not installed")
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = binary
    for argument in (*CHROMIUM_ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(driver_binary))
    yield driver
    driver.quit()


@pytest.fixture
def resize(chromium: "Chrome") -> Callable[..., None]:
    """Function of width, height (pixels) and scheme ("light" or "dark"): give the page this size and these colours."""
    from selenium.webdriver.support.wait import WebDriverWait

    def resize(width: int, height: int, scheme: str = "light") -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        taken = "return innerWidth === arguments[0] && matchMedia(`(prefers-color-scheme: ${arguments[1]})`).matches"
        WebDriverWait(chromium, 300).until(lambda page: page.execute_script(taken, width, scheme))

    return resize
