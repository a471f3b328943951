"""Exported networks compute what PyTorch computes, for every size."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from twostagealign.archs import KPN, LowResolutionFeatures, ModulatedDeformConv
from twostagealign.archs.frames import BurstNetwork
from twostagealign.matching import Matcher, Search
from twostagealign.merging import align_to_reference, merge_reference
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import find_checkpoint, open_restorer, save_weights
from twostagealign.models.export import METADATA_FILE, export_checkpoint
from twostagealign.options.plugins import import_plugin
from twostagealign.options.registry import NETWORKS
from twostagealign.runtime.errors import UserError

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXAMPLE = Path(__file__).parents[2] / "examples" / "onnx_tile.py"
FRAMES = 3
OWN = ("TwoStageNet", "SingleFrameNet", "GCPNet", "EDVR", "KPN")
SIZES = ((1, 2, 3), (2, 3, 2), (3, 2, 5))
"""Batch size, and height and width in units of what they must be multiples of."""
ARGUMENTS = {
    "TwoStageNet": {"nf": 8, "groups": 4, "residual": True, "dense_search": True, "merge": True},
    "SingleFrameNet": {"nf": 8, "residual": True},
    "GCPNet": {"nf": 8, "groups": 4, "frames": FRAMES, "residual": True},
    "EDVR": {"nf": 8, "groups": 4, "frames": FRAMES, "front_blocks": 1, "back_blocks": 1},
    "KPN": {"nf": 8, "frames": FRAMES},
    "Shallow": {},
    "Undecided": {},
}


class Shallow(BurstNetwork):
    """A network with what the shipped one has that is hard to export, whose graph is recorded in seconds."""

    residual = True

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.deform = ModulatedDeformConv(8, groups=4)
        self.last = nn.Sequential(nn.Conv2d(8, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        """Restore the average of the burst."""
        return super().forward(*merge_reference(*align_to_reference(lq, noise_map)), interpolation)

    def restore(self, images: Tensor, burst: torch.Size, interpolation: bool) -> Tensor:
        """See `BurstNetwork`."""
        features = self.first(images)
        return self.last(self.deform(features, features)).unflatten(0, burst).mean(dim=1)


class Undecided(nn.Module):
    """A network whose operations depend on the values of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, lq: Tensor, noise_map: Tensor, interpolation: bool = False) -> Tensor:
        return lq * self.gain if lq.mean() > 0.5 else lq


import_plugin(__name__)
EVERY = [Shallow, *(pytest.param(NETWORKS[name], marks=pytest.mark.slow) for name in OWN)]


def write_checkpoint(path: Path, network: nn.Module, block_matching: bool = True) -> Path:
    """A checkpoint of a network of which each weight has a share in the result."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    name = type(network).__name__
    features = LowResolutionFeatures(8)
    restorer = TwoStageRestorer(network, features, Matcher(4, Search(16)))
    kind = name if name in OWN else f"{__name__}.{name}"
    nodes = {"network": {"type": kind, **ARGUMENTS[name]}, "features": {"type": "LowResolutionFeatures", "channels": 8}}
    save_weights(path, restorer.state_dict(), nodes | {"block_matching": block_matching})
    return path


Run = Callable[..., np.ndarray]


def compare(run: Run, module: nn.Module, leading: tuple[int, ...], inputs: int, unit: int) -> None:
    """Compare a function with a module at three shapes."""
    generator = torch.Generator().manual_seed(0)
    for batch, height, width in SIZES:
        shape = (batch, *leading, unit * height, unit * width)
        tensors = [scale * torch.rand(shape, generator=generator) for scale in (1, 0.1)[:inputs]]
        with torch.no_grad():
            expected = module(*tensors).numpy()
        found = run(*(tensor.numpy() for tensor in tensors))
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def by_onnxruntime(path: Path) -> Run:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda *arrays: session.run(None, dict(zip(names, arrays, strict=True)))[0]


@pytest.mark.parametrize("network", EVERY)
def test_onnx(network: type[nn.Module], tmp_path: Path) -> None:
    name = network.__name__
    checkpoint = write_checkpoint(tmp_path / "net.safetensors", network(**ARGUMENTS[name]))
    path, features = export_checkpoint(checkpoint, tmp_path / "out", "onnx", FRAMES)
    assert (path.name, features.name) == ("net.onnx", "net_features.onnx")
    restorer = open_restorer(checkpoint)
    about = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert (about["network"], about["frames"]) == (name, str(FRAMES))
    assert about["planes"].startswith("R, G of the red rows")
    assert "sqrt(shot * lq + read^2)" in about["noise_map"]
    assert about["licence"].startswith("not known: net.md")
    compare(by_onnxruntime(path), restorer.network, (FRAMES, 4), 2, int(about["multiple"]))
    compare(by_onnxruntime(features), restorer.features, (4,), 1, 4)


@pytest.mark.parametrize("network", EVERY)
def test_torch_export(network: type[nn.Module], tmp_path: Path) -> None:
    name = network.__name__
    checkpoint = write_checkpoint(tmp_path / "net.safetensors", network(**ARGUMENTS[name]), block_matching=False)
    (path,) = export_checkpoint(checkpoint, tmp_path, "torch_export", FRAMES)
    extra = {METADATA_FILE: ""}
    program = torch.export.load(path, extra_files=extra).module()
    about = json.loads(extra[METADATA_FILE])
    assert about["network"] == name
    compare(
        lambda *arrays: program(*map(torch.from_numpy, arrays)).numpy(),
        open_restorer(checkpoint).network,
        (FRAMES, 4),
        2,
        int(about["multiple"]),
    )


def test_every_network_is_tested() -> None:
    own = {name for name, network in NETWORKS.items() if network.__module__.startswith("twostagealign.")}
    assert own == set(OWN)


def test_what_cannot_be_exported_is_one_line(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "net.safetensors", Undecided())
    with pytest.raises(UserError, match=r"^Undecided: cannot be exported: [^\n]+$"):
        export_checkpoint(checkpoint, tmp_path / "out", "torch_export")
    assert not (tmp_path / "out").exists()


def test_a_wrong_number_of_frames_is_one_line(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "net.safetensors", KPN(**ARGUMENTS["KPN"]))
    with pytest.raises(UserError, match=r"^this KPN was made for bursts of 3 frames, not 5; use 3 frames$"):
        export_checkpoint(checkpoint, tmp_path, "onnx", frames=5)


@pytest.mark.slow
def test_the_example_restores_a_tile_without_torch(tmp_path: Path) -> None:
    path, _ = export_checkpoint(find_checkpoint("tiny"), tmp_path)
    program = f"""
import runpy, sys
sys.argv = ["onnx_tile.py", {str(path)!r}, "--output", {str(tmp_path / "tile.npy")!r}]
runpy.run_path({str(EXAMPLE)!r}, run_name="__main__")
assert not {{"torch", "twostagealign"}} & set(sys.modules)
"""
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    licence, measured = out.splitlines()
    assert "non-commercial research" in licence
    before, after = (float(part.rpartition(" ")[2]) for part in measured.removesuffix(" dB").split(" dB, restored"))
    assert after > before + 5
    assert np.load(tmp_path / "tile.npy").shape == (1, 3, 128, 128)
