import re

import pytest
import torch
from torch import Tensor

from twostagealign.archs import TwoStageNet, widen

STYLE = {"groups": 4, "residual": True, "initialisation": "delta_orthogonal"}


def trained(nf: int) -> TwoStageNet:
    """A network every part of which has learnt something."""
    torch.manual_seed(nf)
    network = TwoStageNet(nf=nf, **STYLE).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def burst() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    lq = torch.rand(2, 3, 4, 12, 16, generator=generator)
    return lq, 0.1 * torch.rand(lq.shape, generator=generator)


@pytest.mark.parametrize("nf", [8, 12, 20, 32])
def test_a_wider_network_starts_as_the_narrower_one(nf: int) -> None:
    narrow, wide = trained(8).double(), TwoStageNet(nf=nf, **STYLE).double().eval()
    widen(wide, narrow.state_dict())
    lq, noise_map = (planes.double() for planes in burst())
    with torch.no_grad():
        torch.testing.assert_close(wide(lq, noise_map), narrow(lq, noise_map))


def test_what_is_new_can_learn() -> None:
    wide = TwoStageNet(nf=16, **STYLE)
    widen(wide, trained(8).state_dict())
    wide(*burst()).sum().backward()
    for name, parameter in wide.named_parameters():
        assert parameter.grad.any(), name
    for layer in (wide.features.stem[2], wide.alignment.level1.refine, wide.fusion.merge, wide.reconstruction.down1):
        assert layer.weight.grad[::2, 1::2].any()  # what nothing looks at yet


def test_new_channels_have_weights_of_their_own() -> None:
    wide = TwoStageNet(nf=16, **STYLE)
    before = wide.features.stem[2].weight.clone()
    widen(wide, trained(8).state_dict())
    after = wide.features.stem[2].weight
    assert torch.equal(after[1::2], before[1::2])
    assert torch.equal(after[::2, ::2], trained(8).features.stem[2].weight)
    assert not after[::2, 1::2].any()


def test_what_does_not_fit_is_refused() -> None:
    message = "features.stem.0.weight has shape [8, 8, 3, 3], expected at most [4, 8, 3, 3]"
    with pytest.raises(ValueError, match=re.escape(message)):
        widen(TwoStageNet(nf=4, **STYLE), trained(8).state_dict())
    state = trained(8).state_dict()
    del state["fusion.merge.bias"]
    with pytest.raises(ValueError, match=r"fusion\.merge\.bias are in one of the two networks only"):
        widen(TwoStageNet(nf=16, **STYLE), state)
