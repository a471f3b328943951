import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from twostagealign.archs import (
    GCPNet,
    LowResolutionFeatures,
    TwoStageNet,
    from_released,
    infer_network,
    is_released,
    to_released,
)

SHAPES = json.loads((Path(__file__).parents[1] / "data" / "released_checkpoint_keys.json").read_text())
CLASSES = {
    "600000_G.pth": TwoStageNet,
    "600000_DSNet.pth": LowResolutionFeatures,
    "GCP-Net 600000_G.pth": GCPNet,
}


def released(file: str) -> dict[str, Tensor]:
    return {name: torch.zeros(shape, device="meta") for name, shape in SHAPES[file].items()}


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    with torch.device("meta"):  # shapes are all that these tests look at
        return {file: network() for file, network in CLASSES.items()}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("file", CLASSES)
def test_released_file_loads_strictly(networks, file: str, prefix: str) -> None:
    state = {prefix + name: value for name, value in released(file).items()}
    assert is_released(state)
    name, renamed = from_released(state)
    assert name == CLASSES[file].__name__
    networks[file].load_state_dict(renamed, strict=True, assign=True)


@pytest.mark.parametrize(
    ("file", "node"),
    [
        ("600000_G.pth", {"type": "TwoStageNet", "nf": 64, "groups": 8}),
        ("GCP-Net 600000_G.pth", {"type": "GCPNet", "nf": 64, "groups": 8, "frames": 5}),
    ],
)
def test_arguments_of_a_released_network_are_inferred(file: str, node: dict) -> None:
    assert infer_network(from_released(released(file))[1]) == node


def test_arguments_of_a_small_network_are_inferred() -> None:
    assert infer_network(TwoStageNet(nf=12, groups=3).state_dict()) == {"type": "TwoStageNet", "nf": 12, "groups": 3}
    small = {"type": "GCPNet", "nf": 4, "groups": 2, "frames": 3}
    assert infer_network(GCPNet(nf=4, groups=2, frames=3).state_dict()) == small


@pytest.mark.parametrize(("file", "size"), [("600000_G.pth", 12_052_144), ("GCP-Net 600000_G.pth", 13_792_520)])
def test_released_network_has_the_published_size(networks, file: str, size: int) -> None:
    assert sum(parameter.numel() for parameter in networks[file].parameters()) == size


@pytest.mark.parametrize("file", CLASSES)
def test_names_go_there_and_back(networks, file: str) -> None:
    there = to_released(CLASSES[file].__name__, networks[file].state_dict())
    assert {name: list(value.shape) for name, value in there.items()} == SHAPES[file]
    assert list(from_released(there)[1]) == list(networks[file].state_dict())


def test_unknown_names_reach_the_strict_loader(networks) -> None:
    state = released("600000_G.pth")
    state["tsa_fusion.weight"] = state.pop("feature_up.weight")
    _, renamed = from_released(state)
    with pytest.raises(RuntimeError, match=r"reconstruction\.upsample\.weight(.|\n)*tsa_fusion\.weight"):
        networks["600000_G.pth"].load_state_dict(renamed, strict=True, assign=True)


def test_other_states_are_not_released_ones(networks) -> None:
    for state in (*(network.state_dict() for network in networks.values()), {}):
        assert not is_released(state)
        with pytest.raises(ValueError, match="expected those of a released checkpoint"):
            from_released(state)
    with pytest.raises(ValueError, match=r"state has no 'features\.stem\.0\.weight'"):
        infer_network(released("600000_G.pth"))
