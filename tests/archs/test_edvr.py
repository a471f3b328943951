import pytest
import torch
from torch import nn

from twostagealign.archs import EDVR
from twostagealign.archs.edvr import TSAFusion
from twostagealign.isp import demosaic


@pytest.fixture(autouse=True)
def same_random_numbers_every_time() -> None:
    torch.manual_seed(0)


@torch.no_grad()
def test_temporal_attention_weights_frames_by_their_similarity() -> None:
    """Embeddings that are the features themselves, a fusion that adds the frames, no spatial attention."""
    fusion = TSAFusion(2, 3)
    for parameter in fusion.parameters():
        nn.init.zeros_(parameter)
    for layer in (fusion.embed_reference, fusion.embed_frames):
        nn.init.dirac_(layer.weight)
    fusion.fuse.weight.copy_(torch.eye(2)[:, :, None, None].repeat(1, 3, 1, 1))
    aligned = torch.rand(1, 3, 2, 8, 8)
    similarity = torch.sigmoid((aligned * aligned[:, 1:2]).sum(dim=2, keepdim=True))
    torch.testing.assert_close(fusion(aligned), (aligned * similarity).sum(dim=1))  # twice sigmoid(0) is one


@torch.no_grad()
def test_spatial_attention_sees_further_than_its_kernels() -> None:
    fusion = TSAFusion(4, 1)
    aligned = torch.rand(1, 1, 4, 32, 32)
    before = fusion(aligned)
    aligned[..., 0, 0] += 1
    reached = (fusion(aligned) - before).abs().amax(dim=(0, 1)) > 1e-7
    assert reached[0, 12]  # plain 3 x 3 convolutions of this depth would reach 4 pixels


@torch.no_grad()
def test_residual_network_starts_with_the_demosaicked_frame() -> None:
    net = EDVR(nf=8, frames=4, residual=True)
    lq = torch.rand(2, 4, 4, 7, 9)
    torch.testing.assert_close(net(lq, lq)[..., :8, :8], demosaic(lq[:, 2])[..., :8, :8])
    assert not torch.allclose(EDVR(nf=8, frames=4)(lq, lq), demosaic(lq[:, 2]))


@pytest.mark.parametrize("blocks", [1, 3])
def test_blocks_can_be_chosen(blocks: int) -> None:
    net = EDVR(nf=8, front_blocks=blocks, back_blocks=blocks + 1)
    assert (len(net.features), len(net.reconstruction)) == (blocks, blocks + 1)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 4, 5])
def test_delta_orthogonal_training_starts_with_the_reference_frame(frames: int) -> None:
    """Neighbours that are not aligned yet would hide it, and a short training would not get over that."""
    net = EDVR(nf=8, frames=frames, initialisation="delta_orthogonal")
    lq = torch.rand(1, frames, 4, 8, 8)
    before = net(lq, lq)
    lq[:, [each for each in range(frames) if each != frames // 2]] = 0
    torch.testing.assert_close(net(lq, lq), before)
    lq[:, frames // 2, :, 4, 4] += 1
    assert not torch.allclose(net(lq, lq), before)


@torch.no_grad()
def test_fusion_that_starts_at_the_reference_makes_up_for_what_is_halved() -> None:
    """By two masks, which `aligned` has passed, and by the temporal attention, here of embeddings that are zero."""
    fusion = TSAFusion(4, 3)
    fusion.start_at_reference()
    nn.init.zeros_(fusion.embed_frames.weight)
    features = torch.rand(1, 3, 4, 8, 8)
    fused = fusion(features / 4)
    before_activation = torch.where(fused < 0, fused / 0.1, fused)
    torch.testing.assert_close(before_activation.norm(dim=1), features[:, 1].norm(dim=1))


def test_delta_orthogonal_training_reaches_every_frame() -> None:
    net = EDVR(nf=8, frames=3, residual=True, initialisation="delta_orthogonal")
    nn.init.normal_(net.last.weight)
    lq = torch.rand(1, 3, 4, 16, 16)
    net(lq, lq).square().sum().backward()
    assert all(part.any() for part in net.fusion.fuse.weight.grad.chunk(3, dim=1))


def test_unknown_initialisation() -> None:
    with pytest.raises(ValueError, match="initialisation is 'dirac', expected 'orthogonal' or 'delta_orthogonal'"):
        EDVR(nf=8, initialisation="dirac")
