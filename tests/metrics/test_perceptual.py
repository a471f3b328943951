import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from twostagealign.metrics import load_lpips

CPU = torch.device("cpu")


class Distance(nn.Module):
    """In place of the network: the mean square difference of pictures in [-1, 1]."""

    def __init__(self, net: str, verbose: bool) -> None:
        super().__init__()
        assert (net, verbose) == ("alex", False)

    def forward(self, image, target):
        assert image.shape == target.shape == (1, 3, 8, 8)
        return (image - target).square().mean().reshape(1, 1, 1, 1)


@pytest.fixture
def package(monkeypatch) -> None:
    module = ModuleType("lpips")
    module.LPIPS = Distance
    monkeypatch.setitem(sys.modules, "lpips", module)


@pytest.fixture
def cache(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


def test_with_package_and_weights(package, cache) -> None:
    (cache / "alexnet-owt-7be5be79.pth").touch()
    measure = load_lpips(CPU)
    assert measure(torch.full((3, 8, 8), 0.75), torch.full((3, 8, 8), 0.25)) == pytest.approx(1.0)


def test_nothing_is_downloaded(package, cache) -> None:
    assert load_lpips(CPU) is None


def test_without_package(monkeypatch, cache) -> None:
    (cache / "alexnet-owt-7be5be79.pth").touch()
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert load_lpips(CPU) is None
