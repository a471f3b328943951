import pytest
import torch

from twostagealign.archs import SingleFrameNet, TwoStageNet
from twostagealign.isp import demosaic


@pytest.fixture
def net() -> SingleFrameNet:
    torch.manual_seed(0)
    return SingleFrameNet(nf=8).eval()


@pytest.mark.parametrize("frames", [1, 4, 5])
@torch.no_grad()
def test_is_the_features_and_the_reconstruction_of_the_reference_frame(net: SingleFrameNet, frames: int) -> None:
    lq, noise_map = torch.rand(2, 2, frames, 4, 8, 12).unbind()
    restored = net(lq, noise_map)
    assert restored.shape == (2, 3, 16, 24)
    assert torch.equal(restored, net(lq, noise_map, interpolation=True))
    both = torch.cat([lq, noise_map], dim=2)[:, frames // 2]
    expected = net.reconstruction(net.features(both))
    torch.testing.assert_close(restored, expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@torch.no_grad()
def test_the_other_frames_do_not_matter(net: SingleFrameNet) -> None:
    lq = torch.rand(1, 5, 4, 8, 8)
    changed = lq.clone()
    changed[:, [0, 1, 3, 4]] = 0
    assert torch.equal(net(lq, lq), net(changed, changed))
    changed[:, 2] += 0.1
    assert not torch.equal(net(lq, lq), net(changed, lq))


@torch.no_grad()
def test_odd_sizes(net: SingleFrameNet) -> None:
    lq = torch.rand(1, 1, 4, 7, 9)
    expected = net(*[torch.nn.functional.pad(lq, (0, 3, 0, 1, 0, 0), mode="replicate")] * 2)
    torch.testing.assert_close(net(lq, lq), expected[..., :14, :18], rtol=0, atol=1e-5 * expected.abs().max().item())


@torch.no_grad()
def test_residual_network_starts_with_the_demosaicked_frame() -> None:
    net = SingleFrameNet(nf=8, residual=True, initialisation="delta_orthogonal")
    lq = torch.rand(2, 4, 4, 8, 12)
    torch.testing.assert_close(net(lq, lq), demosaic(lq[:, 2]))


def test_its_weights_fit_the_network_of_the_burst(net: SingleFrameNet) -> None:
    state = TwoStageNet(nf=8).state_dict()
    assert all(state[name].shape == tensor.shape for name, tensor in net.state_dict().items())


def test_wrong_arguments(net: SingleFrameNet) -> None:
    with pytest.raises(ValueError, match="nf is 7, expected a positive even number"):
        SingleFrameNet(nf=7)
    with pytest.raises(ValueError, match=r"lq has shape \(4, 8, 8\)"):
        net(torch.rand(4, 8, 8), torch.rand(4, 8, 8))
    with pytest.raises(ValueError, match="noise_map has shape"):
        net(torch.rand(1, 1, 4, 8, 8), torch.rand(1, 1, 4, 8, 4))
