"""What every network promises."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs import EDVR, KPN, GCPNet, SingleFrameNet, TwoStageNet
from twostagealign.models.complexity import count_flops

FIXED = [GCPNet, EDVR, KPN]
"""Networks that are made for one number of frames."""
NETWORKS = [*FIXED, SingleFrameNet, TwoStageNet]


def make(network: type[nn.Module], frames: int, **arguments: object) -> nn.Module:
    """The network at nf 8, with weights of which each has a share in the result."""
    torch.manual_seed(1)
    net = network(nf=8, **({"frames": frames} if network in FIXED else {}), **arguments)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.02)
    return net


def burst(frames: int, height: int = 8, width: int = 12, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(frames)
    lq = torch.rand(batch, frames, 4, height, width, generator=generator)
    return lq, 0.1 * torch.rand(lq.shape, generator=generator)


@pytest.mark.parametrize("frames", [1, 2, 9])
@pytest.mark.parametrize("network", NETWORKS)
def test_one_step_reaches_every_weight_for_any_number_of_frames(network: type[nn.Module], frames: int) -> None:
    net = make(network, frames)
    output = net(*burst(frames, batch=2))
    assert output.shape == (2, 3, 16, 24)
    assert output.isfinite().all()
    output.square().sum().backward()
    idle = {name for name, parameter in net.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    # From a zero state, nothing is reset.
    assert idle == (
        {"fusion.cell.reset.weight", "fusion.cell.reset.bias"} if (network, frames) == (TwoStageNet, 1) else set()
    )


@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_odd_sizes_are_extended_and_cropped(network: type[nn.Module]) -> None:
    net = make(network, 3).eval()
    lq, noise_map = burst(3, 7, 13)
    output = net(lq, noise_map)
    assert output.shape == (1, 3, 14, 26)
    rows = 9 if network is KPN else 1  # to a multiple of 16 or of 4
    extended = [F.pad(x, (0, 3, 0, rows, 0, 0), mode="replicate") for x in (lq, noise_map)]
    torch.testing.assert_close(output, net(*extended)[..., :14, :26])
    assert net(*burst(3, 1, 1)).shape == (1, 3, 2, 2)


@pytest.mark.parametrize("network", NETWORKS)
@torch.no_grad()
def test_items_of_a_batch_are_independent_and_interpolation_is_accepted(network: type[nn.Module]) -> None:
    net = make(network, 3).eval()
    lq, noise_map = burst(3, batch=2)
    both = net(lq, noise_map, interpolation=True)
    for i in range(2):
        alone = net(lq[i : i + 1], noise_map[i : i + 1])
        torch.testing.assert_close(both[i : i + 1], alone, rtol=0, atol=1e-4 * alone.abs().max().item())


@pytest.mark.parametrize("network", NETWORKS)
def test_bfloat16_is_close(network: type[nn.Module]) -> None:
    net = make(network, 3)
    expected = net(*burst(3)).detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(*burst(3))
        output.float().square().sum().backward()
    assert output.dtype == torch.float32  # also of networks that add it to nothing
    assert (output.detach() - expected).abs().max() < 0.1 * expected.abs().max()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters() if parameter.grad is not None)
    with torch.no_grad():
        half = copy.deepcopy(net).to(torch.bfloat16)(*(x.to(torch.bfloat16) for x in burst(3)))
    assert (half.float() - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize("network", FIXED)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"nf": 7}, "nf is 7, expected a positive even"),
        ({"nf": 0}, "nf is 0, expected a positive even"),
        ({"nf": 8, "frames": 0}, "frames is 0, expected a positive number"),
    ],
)
def test_wrong_arguments(network: type[nn.Module], arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        network(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("network", [GCPNet, EDVR])
def test_wrong_groups(network: type[nn.Module]) -> None:
    with pytest.raises(ValueError, match="nf is 12, expected a positive even multiple of groups = 8"):
        network(nf=12)


def test_wrong_initialisation_and_blocks() -> None:
    with pytest.raises(ValueError, match="initialisation is 'dirac'"):
        GCPNet(nf=8, initialisation="dirac")
    with pytest.raises(ValueError, match="front_blocks is 0, expected a positive number"):
        EDVR(nf=8, front_blocks=0)


@pytest.mark.parametrize("network", NETWORKS)
def test_wrong_inputs(network: type[nn.Module]) -> None:
    net = make(network, 3)
    with pytest.raises(ValueError, match=r"lq has shape \(3, 4, 8, 8\), expected \(B, N, 4, H, W\)"):
        net(torch.zeros(3, 4, 8, 8), torch.zeros(3, 4, 8, 8))
    with pytest.raises(ValueError, match=r"noise_map has shape \(1, 3, 4, 8, 4\)"):
        net(torch.zeros(1, 3, 4, 8, 8), torch.zeros(1, 3, 4, 8, 4))
    if network in FIXED:
        with pytest.raises(ValueError, match=r"lq has 4 frames, but this network was made for 3$"):
            net(*burst(4))


@pytest.mark.parametrize(
    ("network", "parameters"),
    [(EDVR, 3_155_299), (KPN, 28_263_796), (SingleFrameNet, 10_562_792)],
)
def test_default_size_is_the_documented_one(network: type[nn.Module], parameters: int) -> None:
    with torch.device("meta"):
        assert sum(parameter.numel() for parameter in network().parameters()) == parameters


@pytest.mark.parametrize("network", [GCPNet, EDVR])
def test_what_is_computed_can_be_counted(network: type[nn.Module]) -> None:
    flops = count_flops(make(network, 3), 3, 16)
    assert flops is not None
    assert flops > 0
