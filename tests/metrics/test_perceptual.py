"""Metrics of pyiqa, for which a module stands in."""

import socket
import sys
import urllib.request
from types import ModuleType

import pytest
import torch

from twostagealign.metrics import Pyiqa
from twostagealign.runtime.errors import UserError

CPU = torch.device("cpu")
BRIGHT, DARK = torch.full((3, 8, 8), 0.75), torch.full((3, 8, 8), 0.25)


class Model:
    """Stands for a metric of pyiqa: the mean difference of batches of one, or the mean of one."""

    def __init__(self, name: str, device: torch.device) -> None:
        print("Downloading:")
        self.blind = name == "niqe"
        assert device == CPU

    def __call__(self, image, target=None):
        assert image.shape == (1, 3, 8, 8)
        assert (target is None) == self.blind
        return image.mean() if self.blind else (image - target).mean()[None]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("pyiqa")
    module.create_metric = Model
    monkeypatch.setitem(sys.modules, "pyiqa", module)
    return module


def test_values(package, capsys) -> None:
    assert Pyiqa("lpips").load(CPU)(BRIGHT, DARK) == pytest.approx(0.5)
    assert Pyiqa("lpips")(BRIGHT + 1, DARK) == pytest.approx(0.75)  # pyiqa refuses what is not in [0, 1]
    assert Pyiqa("niqe", needs_target=False)(DARK, DARK) == pytest.approx(0.25)
    assert capsys.readouterr().out == ""


def test_nothing_is_downloaded(package) -> None:
    """Weights that are missing are one line, at once."""

    def create_metric(name: str, device: torch.device) -> Model:
        urllib.request.urlopen("http://127.0.0.1:9/weights.pth", timeout=60)
        raise AssertionError("a connection")

    package.create_metric = create_metric
    reason = r"cannot be loaded \(URLError: .*no download.*\)"
    with pytest.raises(UserError, match=rf"^metric dists: {reason}; if files are missing, fetch them once: python -c"):
        Pyiqa("dists").load(CPU)
    with socket.socket() as listener:  # connections work again
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname(), timeout=5):
            pass


def test_a_missing_file_is_named(package) -> None:
    def create_metric(name: str, device: torch.device) -> Model:
        print('Downloading: "http://127.0.0.1:9/weights.pth" to /home/me/weights.pth\n')
        urllib.request.urlopen("http://127.0.0.1:9/weights.pth", timeout=60)
        raise AssertionError("a connection")

    package.create_metric = create_metric
    expected = r"^metric lpips: needs http://127\.0\.0\.1:9/weights\.pth as /home/me/weights\.pth; put it there, or "
    with pytest.raises(UserError, match=expected):
        Pyiqa("lpips").load(CPU)


def test_the_hub_of_hugging_face_is_offline_while_a_metric_is_loaded(package) -> None:
    """It tries again five times, for more than a minute, where it only cannot connect."""
    hub = pytest.importorskip("huggingface_hub")
    found = []

    def create_metric(name: str, device: torch.device) -> Model:
        found.append(hub.constants.HF_HUB_OFFLINE)
        return Model(name, device)

    package.create_metric = create_metric
    Pyiqa("lpips").load(CPU)
    assert found == [True]
    assert hub.constants.HF_HUB_OFFLINE is False


def test_a_picture_that_the_metric_refuses(package) -> None:
    def refuse(self, *pictures):
        raise AssertionError("too small")

    package.create_metric = type("Small", (Model,), {"__call__": refuse})
    with pytest.raises(UserError, match=r"^metric niqe: too small$"):
        Pyiqa("niqe", needs_target=False).load(CPU)(BRIGHT, DARK)


def test_without_the_package(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UserError, match=r"^metric lpips: needs the package pyiqa \(.*\); pip install "):
        Pyiqa("lpips").load(CPU)
