import pytest
import torch
from torch import nn

from twostagealign.archs import AttentionBlock, SimpleBlock, initialise
from twostagealign.archs.blocks import PixelGate, initialise_delta_orthogonal


@pytest.fixture(autouse=True)
def same_random_numbers_every_time() -> None:
    torch.manual_seed(0)


def test_simple_block_has_one_bias_and_the_asked_depth() -> None:
    block = SimpleBlock(5, 8, 6, 3)
    convs = [layer for layer in block if isinstance(layer, nn.Conv2d)]
    assert [conv.bias is not None for conv in convs] == [True, False, False, False, False]
    assert [conv.out_channels for conv in convs] == [6, 6, 6, 6, 3]
    assert isinstance(block[-1], nn.Conv2d)  # nothing follows the last convolution
    assert block(torch.rand(2, 8, 5, 7)).shape == (2, 3, 5, 7)


def test_simple_block_of_depth_one_is_refused() -> None:
    with pytest.raises(ValueError, match="depth of a SimpleBlock is 1, expected at least 2"):
        SimpleBlock(1, 4, 4, 4)


def test_attention_block_without_refinement_is_two_gates() -> None:
    block = AttentionBlock(4)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    nn.init.constant_(block.excite.bias, 1.0)
    nn.init.constant_(block.spatial.bias, -2.0)
    x = torch.randn(2, 4, 6, 5)
    gates = torch.sigmoid(torch.tensor(1.0)) + torch.sigmoid(torch.tensor(-2.0))
    torch.testing.assert_close(block(x), x + x * gates)


def test_attention_block_leaves_its_input_alone() -> None:
    block, x = AttentionBlock(4), torch.randn(1, 4, 6, 5)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (8, 7)])
def test_pixel_gate_is_a_convolution(size: tuple[int, int], memory_format: torch.memory_format) -> None:
    gate = PixelGate(3)
    x = torch.randn(2, 3, *size).contiguous(memory_format=memory_format).requires_grad_()
    leaves = (x, gate.weight, gate.bias)
    convolved = nn.functional.conv2d(x, gate.weight, gate.bias, padding=3)
    torch.testing.assert_close(gate(x), convolved, rtol=0, atol=1e-5)
    towards = torch.randn_like(convolved)
    expected = torch.autograd.grad(convolved, leaves, towards)
    for gradient, wanted in zip(torch.autograd.grad(gate(x), leaves, towards), expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 3), nn.Conv2d(2, 8, 1), nn.ConvTranspose2d(4, 2, 2)]
)
def test_initialise_makes_convolutions_orthogonal(layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
    nn.init.constant_(layer.bias, 3.0)
    initialise(nn.Sequential(layer))
    matrix = layer.weight.detach().flatten(1)
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), rtol=0, atol=1e-5)
    assert not layer.bias.any()


def test_delta_orthogonal_keeps_pixels_apart() -> None:
    block = SimpleBlock(5, 6, 6, 6)
    initialise_delta_orthogonal(block)
    for layer in list(block)[::2]:
        matrix = layer.weight[:, :, 1, 1].detach()
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(6), rtol=0, atol=1e-5)
    x = torch.zeros(1, 6, 7, 7)
    x[:, :, 3, 4] = torch.rand(6) + 0.1
    seen = (block(x) - block(0 * x)).abs().amax(dim=1)[0]
    assert seen[3, 4] > 0
    assert seen.count_nonzero() == 1


@pytest.mark.parametrize("layer", [nn.Conv2d(4, 4, 3, stride=2), nn.Conv2d(4, 4, 1), nn.ConvTranspose2d(4, 4, 2)])
def test_delta_orthogonal_leaves_other_convolutions_alone(layer: nn.Module) -> None:
    before = layer.weight.detach().clone()
    initialise_delta_orthogonal(layer)
    assert torch.equal(layer.weight, before)


def test_refinements_start_at_nothing_with_delta_orthogonal() -> None:
    block, x = AttentionBlock(4), torch.rand(1, 4, 6, 5)
    initialise(block)
    initialise_delta_orthogonal(block)
    without = AttentionBlock(4)
    without.load_state_dict(block.state_dict())
    for name in ("square", "extract", "refine1", "refine2"):
        for parameter in getattr(without, name).parameters():
            nn.init.zeros_(parameter)
    assert torch.equal(block(x), without(x))
