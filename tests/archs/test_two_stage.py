import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs import (
    BidirectionalGRU,
    PCDAlignment,
    TwoStageNet,
    from_released,
    pcd_align,
    to_released,
    two_stage,
)
from twostagealign.isp import demosaic
from twostagealign.merging import merge_reference
from twostagealign.ops import deform_conv2d

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(autouse=True)
def same_random_numbers_every_time() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def numbers() -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in np.load(DATA / "network_nf8.npz").items()}


@pytest.fixture
def net(numbers: dict[str, Tensor]) -> TwoStageNet:
    """A network with weights for which every part matters (offsets of a pixel and more)."""
    weights = {name.removeprefix("state/"): value for name, value in numbers.items() if name.startswith("state/")}
    net = TwoStageNet(nf=int(numbers["nf"]), groups=int(numbers["groups"]))
    net.load_state_dict(from_released(weights)[1])
    return net


def burst(frames: int, height: int, width: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(frames)
    lq = torch.rand(batch, frames, 4, height, width, generator=generator)
    return lq, 0.1 * torch.rand(lq.shape, generator=generator)


def assert_agrees(output: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-4 * expected.abs().max().item())


def test_equals_reference_numbers_in_eval(net: TwoStageNet, numbers: dict[str, Tensor]) -> None:
    with torch.no_grad():
        assert_agrees(net.eval()(numbers["lq"], numbers["noise_map"]), numbers["output_eval"])


def test_equals_reference_numbers_and_gradients_in_training(net: TwoStageNet, numbers: dict[str, Tensor]) -> None:
    with torch.no_grad():
        assert_agrees(net.train()(numbers["lq"], numbers["noise_map"], interpolation=True), numbers["output_train"])
    # In float64: kinks in loss, activations and sampling make norms in float32 differ by 5e-3 from CPU to CPU.
    output = net.double()(numbers["lq"].double(), numbers["noise_map"].double(), interpolation=True)
    torch.sqrt(output**2 + 1e-6).sum().backward()
    norms = to_released("TwoStageNet", {name: parameter.grad.norm() for name, parameter in net.named_parameters()})
    expected = np.load(DATA / "network_nf8_grad.npz")
    assert set(norms) == set(expected)
    for name, norm in norms.items():
        assert norm.item() == pytest.approx(expected[name].item(), rel=1e-11), name
        assert norm > 0, name


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("interpolation", [False, True])
def test_any_number_of_frames_in_just_the_steps_needed(net: TwoStageNet, frames: int, interpolation: bool) -> None:
    steps = []
    net.fusion.cell.register_forward_hook(lambda _, __, state: steps.append(len(state)))
    with torch.no_grad():
        output = net(*burst(frames, 8, 12), interpolation=interpolation)
    assert output.shape == (2 if interpolation else 1, 3, 16, 24)
    assert output.isfinite().all()
    # Every frame once, the reference in both directions; from a single frame both begin and end alike.
    assert sum(steps) == (frames + 1 if frames > 1 else 1)


def test_items_of_a_batch_are_independent(net: TwoStageNet) -> None:
    lq, noise_map = burst(4, 8, 12, batch=2)
    with torch.no_grad():
        both = net(lq, noise_map, interpolation=True)
        for i in range(2):
            alone = net(lq[i : i + 1], noise_map[i : i + 1], interpolation=True)
            assert_agrees(both[i::2], alone)


@pytest.mark.parametrize(("height", "width"), [(8, 13), (9, 12), (11, 14), (1, 1)])
def test_any_size_is_extended_and_cropped(net: TwoStageNet, height: int, width: int) -> None:
    lq, noise_map = burst(3, height, width)
    extend = (0, -width % 4, 0, -height % 4, 0, 0)
    with torch.no_grad():
        output = net(lq, noise_map)
        extended = net(F.pad(lq, extend, mode="replicate"), F.pad(noise_map, extend, mode="replicate"))
    assert output.shape == (1, 3, 2 * height, 2 * width)
    torch.testing.assert_close(output, extended[..., : 2 * height, : 2 * width])


def test_float64_and_channels_last_agree_with_float32(net: TwoStageNet) -> None:
    lq, noise_map = burst(3, 12, 8, batch=2)
    with torch.no_grad():
        expected = net(lq, noise_map)
        assert_agrees(copy.deepcopy(net).to(memory_format=torch.channels_last)(lq, noise_map), expected)
        double = net.double()(lq.double(), noise_map.double())
    assert double.dtype == torch.float64
    assert_agrees(expected.double(), double)


def test_autocast_to_bfloat16_stays_close(net: TwoStageNet) -> None:
    lq, noise_map = burst(3, 12, 8)
    expected = net(lq, noise_map, interpolation=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = net(lq, noise_map, interpolation=True)
        output.sum().backward()
    assert (output.float() - expected).abs().mean() < 0.05 * expected.abs().mean()


def test_arguments_are_left_alone(net: TwoStageNet) -> None:
    lq, noise_map = burst(3, 8, 8)
    before = lq.clone(), noise_map.clone()
    with torch.no_grad():
        net(lq, noise_map)
    assert torch.equal(lq, before[0])
    assert torch.equal(noise_map, before[1])


@pytest.mark.parametrize(
    ("lq", "noise_map", "message"),
    [
        ((5, 4, 8, 8), (5, 4, 8, 8), r"lq has shape \(5, 4, 8, 8\), expected \(B, N, 4, H, W\)"),
        ((1, 5, 3, 8, 8), (1, 5, 3, 8, 8), r"lq has shape \(1, 5, 3, 8, 8\)"),
        ((1, 5, 4, 8, 8), (1, 5, 4, 8, 12), r"noise_map has shape \(1, 5, 4, 8, 12\), expected that of lq"),
    ],
)
def test_unfit_inputs_are_refused(
    lq: tuple[int, ...], noise_map: tuple[int, ...], message: str, net: TwoStageNet
) -> None:
    with pytest.raises(ValueError, match=message):
        net(torch.zeros(lq), torch.zeros(noise_map))


@pytest.mark.parametrize(
    ("nf", "groups", "name"), [(0, 1, "nf"), (-8, 8, "nf"), (12, 8, "nf"), (9, 3, "nf"), (8, 0, "groups")]
)
def test_unfit_arguments_are_refused(nf: int, groups: int, name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is"):
        TwoStageNet(nf=nf, groups=groups)


def test_alignment_starts_from_no_motion() -> None:
    net = TwoStageNet(nf=8, groups=4)
    deform = net.alignment.level1.deform
    x = torch.randn(1, 8, 6, 7)
    half_convolved = 0.5 * F.conv2d(x, deform.weight, padding=1)
    torch.testing.assert_close(deform(x, torch.randn(1, 8, 6, 7)), half_convolved, rtol=0, atol=1e-5)
    for name, layer in net.named_modules():
        if isinstance(layer, nn.Conv2d) and not name.endswith("predictor"):
            matrix = layer.weight.detach().flatten(1)
            matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
            torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), rtol=0, atol=1e-5)


def test_mean_offsets_are_those_of_the_latest_training_pass() -> None:
    alignment = PCDAlignment(8, 2)
    names = set(alignment.state_dict())
    features = torch.randn(1, 3, 8, 8, 8)
    layers = [alignment.level1.deform, alignment.level2.deform, alignment.level3.deform]
    alignment.eval()(features)
    assert [layer.mean_offset for layer in layers] == [None] * 3
    nn.init.constant_(alignment.level2.deform.predictor.bias, -1.5)
    alignment.train()(features)
    assert [layer.mean_offset.item() for layer in layers] == [0, 1.5, 0]
    assert not any(layer.mean_offset.requires_grad for layer in layers)
    assert set(copy.deepcopy(alignment).state_dict()) == names  # a moving average copies the network and its state


def test_every_frame_meets_the_reference_alone(net: TwoStageNet) -> None:
    features = torch.randn(1, 5, 8, 8, 8)
    with torch.no_grad():
        before = net.alignment(features)
        features[:, 1] += 1
        after_neighbour = net.alignment(features)
        features[:, 2] += 1
        after_reference = net.alignment(features)
    changed = (after_neighbour - before).abs().amax(dim=(0, 2, 3, 4)) > 1e-4
    assert changed.tolist() == [False, True, False, False, False]
    assert ((after_reference - after_neighbour).abs().amax(dim=(0, 2, 3, 4)) > 1e-4).all()


def test_interpolation_branch_never_sees_the_reference() -> None:
    gru, frames = BidirectionalGRU(4), torch.randn(2, 5, 4, 6, 6)
    with torch.no_grad():
        first = gru(frames, interpolation=True)
        frames[:, 2] += 1
        second = gru(frames, interpolation=True)
        main = gru(frames)
    assert torch.equal(first[2:], second[2:])
    assert not torch.allclose(first[:2], second[:2])
    assert torch.equal(second[:2], main)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_fusion_takes_the_steps_of_the_definition(frames: int) -> None:
    gru, features = BidirectionalGRU(4), torch.randn(2, frames, 4, 6, 5)
    cell, centre = gru.cell, frames // 2

    def run(order: list[int]) -> tuple[Tensor, Tensor]:
        """States before and after the last frame of ``order``."""
        before = after = torch.zeros(2, 4, 6, 5)
        for i in order:
            before, x = after, features[:, i]
            both = torch.cat((before, x), dim=1)
            z, r = torch.sigmoid(cell.update(both)), torch.sigmoid(cell.reset(both))
            after = (1 - z) * before + z * torch.tanh(cell.candidate(torch.cat((r * before, x), dim=1)))
        return before, after

    with torch.no_grad():
        for parameter in gru.parameters():
            nn.init.normal_(parameter, std=0.3)
        ahead, back = run(list(range(centre + 1))), run(list(range(frames - 1, centre - 1, -1)))
        at, before = gru.merge(torch.cat((ahead[1], back[1]), 1)), gru.merge(torch.cat((ahead[0], back[0]), 1))
        torch.testing.assert_close(gru(features, interpolation=True), torch.cat((at, before)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("cache_bytes", [1, 20_000])
def test_bursts_restored_by_turns_equal_one_batch(
    net: TwoStageNet, cache_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lq, noise_map = burst(3, 8, 12, batch=5)
    with torch.no_grad():
        together = net(lq, noise_map)
        sizes = []
        net.features.register_forward_hook(lambda _, __, features: sizes.append(len(features)))
        monkeypatch.setattr(two_stage, "CACHE_BYTES", cache_bytes)
        assert_agrees(net(lq, noise_map), together)
    assert sizes == ([3] * 5 if cache_bytes == 1 else [6, 6, 3])


def test_interpolation_without_neighbours_starts_from_zero() -> None:
    gru = BidirectionalGRU(4)
    nn.init.constant_(gru.merge.bias, 0.25)
    with torch.no_grad():
        output = gru(torch.randn(1, 1, 4, 6, 6), interpolation=True)
    torch.testing.assert_close(output[1:], torch.full((1, 4, 6, 6), 0.25))


@torch.no_grad()
def test_without_alignment_the_features_are_fused_as_they_are() -> None:
    net = TwoStageNet(nf=8, align=False).eval()
    assert not any(name.startswith("alignment") for name in net.state_dict())
    lq, noise_map = burst(5, 8, 12, batch=2)
    features = net.features(torch.cat((lq, noise_map), dim=2).flatten(0, 1)).unflatten(0, (2, 5))
    assert_agrees(net(lq, noise_map), net.reconstruction(net.fusion(features)))


@pytest.mark.parametrize("initialisation", ["orthogonal", "delta_orthogonal"])
@pytest.mark.parametrize("frames", [1, 2, 5])
@torch.no_grad()
def test_residual_network_starts_with_what_was_seen(frames: int, initialisation: str) -> None:
    net = TwoStageNet(nf=8, residual=True, initialisation=initialisation)
    lq, noise_map = burst(frames, 7, 9, batch=2)
    main, interpolated = net(lq, noise_map, interpolation=True).split(2)
    extended = F.pad(lq, (0, 3, 0, 1, 0, 0), mode="replicate")
    torch.testing.assert_close(main, demosaic(extended)[:, frames // 2, :, :14, :18])
    others = [k for k in range(frames) if k != frames // 2]
    mean = extended[:, others].mean(dim=1) if others else torch.zeros_like(extended[:, 0])
    torch.testing.assert_close(interpolated, demosaic(mean)[..., :14, :18])
    assert torch.equal(net(lq, noise_map), main)


@torch.no_grad()
def test_residual_is_added_to_the_picture() -> None:
    whole, residual = TwoStageNet(nf=8), TwoStageNet(nf=8, residual=True)
    residual.load_state_dict(whole.state_dict())
    lq, noise_map = burst(3, 8, 12)
    assert_agrees(residual(lq, noise_map), whole(lq, noise_map) + demosaic(lq[:, 1]))


@torch.no_grad()
def test_what_a_residual_is_added_to_keeps_its_precision_under_autocast() -> None:
    lq, noise_map = burst(3, 8, 12)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = TwoStageNet(nf=8, residual=True)(lq, noise_map)
    assert torch.equal(picture, demosaic(lq[:, 1]))


def test_delta_orthogonal_training_starts_for_all_parts() -> None:
    net = TwoStageNet(nf=8, residual=True, initialisation="delta_orthogonal").train()
    nn.init.normal_(net.reconstruction.decoder1[-1].weight)
    lq, noise_map = burst(5, 16, 16)
    net(lq, noise_map).square().sum().backward()
    still = {name for name, parameter in net.named_parameters() if not parameter.grad.any()}
    # What leads to zeros waits for them to change: refinements and, behind the predictors of offsets, estimated motion.
    waiting = ("square.weight", "refine1.0.", "refine2.0.", "compare.", "merge.", "refine.")
    assert all(any(part in name for part in waiting) for name in still), still


def test_what_estimates_motion_looks_around_from_the_start() -> None:
    alignment = TwoStageNet(nf=8, initialisation="delta_orthogonal").alignment
    kernels = [alignment.level1.compare, alignment.level2.merge, alignment.level3.refine, alignment.level1.fuse]
    around = [int(layer.weight[:, :, [0, 2]].count_nonzero()) for layer in kernels]
    assert all(around[:3])
    assert around[3] == 0
    assert not alignment.level1.deform.predictor.weight.any()


def test_unknown_initialisation() -> None:
    with pytest.raises(ValueError, match="initialisation is 'dirac', expected 'orthogonal' or 'delta_orthogonal'"):
        TwoStageNet(nf=8, initialisation="dirac")


@torch.no_grad()
@pytest.mark.parametrize("frames_at_a_time", [1, 2])
def test_offsets_of_few_frames_at_a_time_give_the_same(
    net: TwoStageNet, monkeypatch: pytest.MonkeyPatch, frames_at_a_time: int
) -> None:
    """The work on offsets is divided between frames, which must not be told from one another by it."""
    inputs = burst(5, 12, 16, batch=2)
    expected = net.eval()(*inputs)
    calls: list[int] = []
    finest = net.alignment.level1.deform.predictor.out_channels * 12 * 16 * 4

    def deform(x: Tensor, offset: Tensor, *others: Tensor) -> Tensor:
        calls.append(len(offset))
        return deform_conv2d(x, offset, *others)

    monkeypatch.setattr(pcd_align, "deform_conv2d", deform)
    monkeypatch.setattr(pcd_align, "OFFSET_BYTES", frames_at_a_time * finest)
    assert_agrees(net(*inputs), expected)
    assert frames_at_a_time in calls


def test_a_merging_network_restores_the_average() -> None:
    plain, merging = TwoStageNet(nf=8, residual=True), TwoStageNet(nf=8, residual=True, merge=True)
    merging.load_state_dict(plain.state_dict())
    lq, noise_map = burst(4, 8, 12, batch=3)
    assert_agrees(merging(lq, noise_map), plain(*merge_reference(lq, noise_map)))
    with torch.inference_mode():  # in parts
        assert_agrees(merging(lq, noise_map), plain(*merge_reference(lq, noise_map)))
