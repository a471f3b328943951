import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from twostagealign.archs import (
    LowResolutionFeatures,
    TwoStageNet,
    from_released,
    infer_network_arguments,
    is_released,
    to_released,
)

SHAPES = json.loads((Path(__file__).parents[1] / "data" / "released_checkpoint_keys.json").read_text())


def released(file: str) -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in SHAPES[file].items()}


@pytest.fixture(scope="module")
def network() -> TwoStageNet:
    with torch.device("meta"):  # shapes are all that these tests look at
        return TwoStageNet(nf=64, groups=8)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_network_loads_strictly(network: TwoStageNet, prefix: str) -> None:
    state = {prefix + name: value for name, value in released("600000_G.pth").items()}
    assert is_released(state)
    kind, renamed = from_released(state)
    assert kind == "network"
    assert infer_network_arguments(renamed) == {"nf": 64, "groups": 8}
    network.load_state_dict(renamed, strict=True, assign=True)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_released_features_load_strictly(prefix: str) -> None:
    state = {prefix + name: value for name, value in released("600000_DSNet.pth").items()}
    assert is_released(state)
    kind, renamed = from_released(state)
    assert kind == "features"
    LowResolutionFeatures().load_state_dict(renamed, strict=True)


def test_released_network_has_the_published_size(network: TwoStageNet) -> None:
    assert sum(parameter.numel() for parameter in network.parameters()) == 12_052_144


def test_names_go_there_and_back(network: TwoStageNet) -> None:
    for kind, net, file in (
        ("network", network, "600000_G.pth"),
        ("features", LowResolutionFeatures(), "600000_DSNet.pth"),
    ):
        there = to_released(kind, net.state_dict())
        assert {name: list(value.shape) for name, value in there.items()} == SHAPES[file]
        assert list(from_released(there)[1]) == list(net.state_dict())


def test_unknown_names_reach_the_strict_loader(network: TwoStageNet) -> None:
    state = released("600000_G.pth")
    state["tsa_fusion.weight"] = state.pop("feature_up.weight")
    _, renamed = from_released(state)
    with pytest.raises(RuntimeError, match=r"reconstruction\.upsample\.weight(.|\n)*tsa_fusion\.weight"):
        network.load_state_dict(renamed, strict=True, assign=True)


def test_other_states_are_not_released_ones(network: TwoStageNet) -> None:
    # GCP-Net has most block names in common with this network; ours differ throughout.
    for state in (released("GCP-Net 600000_G.pth"), network.state_dict(), {}):
        assert not is_released(state)
        with pytest.raises(ValueError, match="expected those of a released checkpoint"):
            from_released(state)
    with pytest.raises(ValueError, match=r"state has no 'features\.stem\.0\.weight'"):
        infer_network_arguments(released("600000_G.pth"))


def test_arguments_of_a_small_network_are_inferred() -> None:
    assert infer_network_arguments(TwoStageNet(nf=12, groups=3).state_dict()) == {"nf": 12, "groups": 3}
