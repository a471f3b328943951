from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostagealign.archs import LowResolutionFeatures
from twostagealign.matching import Matcher, Search
from twostagealign.matching.refinement import refine_match
from twostagealign.merging import UNKNOWN
from twostagealign.models import TwoStageRestorer


class Recorder(nn.Module):
    """Stands in for the network: keeps what it is given, returns the reference's green."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, lq, noise_map, interpolation=False):
        self.lq, self.noise_map, self.interpolation = lq, noise_map, interpolation
        green = lq[:, lq.shape[1] // 2, 1:2].repeat(1, 3, 2, 2) * self.weight
        return torch.cat([green, -green]) if interpolation else green


class BlockMeans(nn.Module):
    """Mean of each 4 x 4 block of every plane."""

    scale = 4

    def forward(self, raw):
        return raw.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4)).mean((-3, -1))


SHIFTS = torch.tensor(
    [[[16, -16], [8, -16], [0, 0], [-8, 0], [-8, 16]], [[0, 24], [8, 8], [0, 0], [0, -24], [16, -16]]]
)
"""Steps of multiples of 8 raw pixels, which the coarse search visits."""


@pytest.fixture
def moving():
    """Two bursts of five frames, each with a walk of its own: `SHIFTS`."""
    scene = torch.rand(2, 4, 176, 192, generator=torch.Generator().manual_seed(0))
    return torch.stack(
        [
            torch.stack([scene[b][:, 40 - y : 136 - y, 40 - x : 152 - x] for y, x in SHIFTS[b].tolist()])
            for b in range(2)
        ]
    )


ORIGINS = torch.tensor([[[32, 40], [40, 56], [44, 36]], [[36, 40], [40, 40], [32, 52]]])


def cut(maps, b: int, frame: int, position, size: int):
    y, x = position.tolist()
    return maps[b, frame, :, y : y + size, x : x + size]


def test_match_is_in_raw_pixels(moving) -> None:
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4))
    positions = restorer.matcher.match(restorer.features(moving), ORIGINS, 16)
    assert torch.equal(positions, ORIGINS[:, :, None] + SHIFTS[:, None])


def test_the_search_window_bounds_the_step_from_frame_to_frame(moving) -> None:
    """A window of 16 reaches 8 pixels to each side, and the fine search 8 more."""
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4, Search(16)))
    positions = restorer.matcher.match(restorer.features(moving), ORIGINS, 16)
    steps = positions.diff(dim=2).abs()
    assert steps.max() <= 16
    assert not torch.equal(positions[0, :, 1], ORIGINS[0] + SHIFTS[0, 1])  # it lies 16 away


def test_at_a_low_temperature_the_network_gets_the_patches_that_testing_finds(moving) -> None:
    """Motion by whole coarse steps: the best candidate has all the weight, and is the one that testing finds."""
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4))
    prediction, match = restorer(moving, 0.1 * moving, ORIGINS, 16, 1e-4)
    assert torch.equal(4 * match.positions, ORIGINS[:, :, None] + SHIFTS[:, None])
    assert restorer.network.interpolation
    assert torch.equal(restorer.matcher.match(restorer.features(moving), ORIGINS, 16), 4 * match.positions)
    for b, p, frame in product(range(2), range(3), range(5)):
        expected = cut(moving, b, frame, 4 * match.positions[b, p, frame], 16)
        for planes, factor in ((restorer.network.lq, 1), (restorer.network.noise_map, 0.1)):
            torch.testing.assert_close(planes[3 * b + p, frame], factor * expected, rtol=0, atol=1e-5)
    main, interpolated = prediction.chunk(2)
    assert torch.equal(interpolated, -main)


def test_patches_can_be_found_to_the_pixel() -> None:
    """Also where no step of the search on the features leads; the network is trained on what testing finds."""
    walk = torch.tensor([[17, -18], [5, -14], [0, 0], [-6, 2], [-9, 17]])
    small = torch.rand(2, 4, 16, 17, generator=torch.Generator().manual_seed(0))
    scene = F.interpolate(small, scale_factor=12, mode="bicubic")
    lq = torch.stack([scene[:, :, 40 - y : 136 - y, 40 - x : 152 - x] for y, x in walk.tolist()], dim=1)
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4, refine=True))
    positions = refine_match(
        lq.mean(dim=2, keepdim=True), ORIGINS, restorer.matcher.match(restorer.features(lq), ORIGINS, 16), 16
    )
    assert torch.equal(positions, ORIGINS[:, :, None] + walk)
    restorer(lq, 0.1 * lq, ORIGINS, 16, 0.1)
    for b, p, frame in product(range(2), range(3), range(5)):
        expected = cut(lq, b, frame, positions[b, p, frame], 16)
        assert torch.equal(restorer.network.lq[3 * b + p, frame], expected)
        assert torch.equal(restorer.network.noise_map[3 * b + p, frame], 0.1 * expected)


def test_a_network_that_averages_gets_patches_from_beyond_the_border() -> None:
    """As in restoration, their noise maps say what is unknown there."""
    small = torch.rand(1, 4, 16, 17, generator=torch.Generator().manual_seed(0))
    scene = F.interpolate(small, scale_factor=12, mode="bicubic")
    lq = torch.stack([scene[:, :, 40 - y : 136 - y, 40:152] for y in (-6, 0, 5)], dim=1)
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4, refine=True))
    restorer.network.merge = True
    restorer(lq, 0.1 * lq, torch.tensor([[[0, 40], [80, 44]]]), 16, 0.1)
    shown, noise = restorer.network.lq, restorer.network.noise_map
    unknown = noise == UNKNOWN
    rows = torch.zeros(2, 3, 16, dtype=torch.bool)
    rows[0, 0, :6], rows[1, 2, 11:] = True, True
    assert torch.equal(unknown, rows[:, :, None, :, None].expand_as(unknown))
    assert torch.equal(noise[~unknown], 0.1 * shown[~unknown])
    repeated = F.pad(lq[0], (8, 8, 8, 8), mode="replicate")
    assert torch.equal(shown[0, 0], repeated[0, :, 2:18, 48:64])
    assert torch.equal(shown[1, 2], repeated[2, :, 93:109, 52:68])


def test_without_the_interpolation_branch(moving) -> None:
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4))
    prediction, _ = restorer(moving, 0.1 * moving, ORIGINS, 16, 0.1, interpolation=False)
    assert not restorer.network.interpolation
    assert prediction.shape == (6, 3, 32, 32)


def test_noise_maps_are_blended_as_the_frames_are(moving) -> None:
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4))
    restorer(moving, 0.1 * moving, ORIGINS, 16, 1.0)
    torch.testing.assert_close(restorer.network.noise_map, 0.1 * restorer.network.lq, rtol=0, atol=1e-6)
    own = torch.stack([cut(moving, b, 2, ORIGINS[b, p], 16) for b in range(2) for p in range(3)])
    torch.testing.assert_close(restorer.network.lq[:, 2], own)  # the reference is not blended
    assert restorer.network.lq[:, 1].std() < 0.5 * own.std()  # a neighbour is, nearly evenly here


def test_losses_on_the_match_train_the_features_of_a_refined_search(moving) -> None:
    restorer = TwoStageRestorer(Recorder(), LowResolutionFeatures(8), Matcher(4, refine=True))
    _, match = restorer(moving, 0.1 * moving, ORIGINS, 16, 0.1)
    assert not restorer.network.lq.requires_grad
    match.scores[..., 0].sum().backward()
    assert restorer.features.layers[0].weight.grad.abs().max() > 0


def test_the_gradient_reaches_network_and_features(moving) -> None:
    restorer = TwoStageRestorer(Recorder(), LowResolutionFeatures(8), Matcher(4, Search(16)))
    prediction, _ = restorer(moving, 0.1 * moving, ORIGINS, 16, 0.1)
    (restorer.network.lq.square().mean() + prediction.square().mean()).backward()
    for name, parameter in restorer.named_parameters():
        # The bias before the instance norm has no effect.
        assert name == "features.layers.6.bias" or parameter.grad.abs().max() > 0, name
        assert parameter.grad.isfinite().all()


def test_without_matching_every_patch_stays_where_it_is(moving) -> None:
    restorer = TwoStageRestorer(Recorder(), BlockMeans(), Matcher(4, Search(block_matching=False)))
    prediction, match = restorer(moving, 0.1 * moving, ORIGINS, 16, 1e-4)
    assert match is None
    assert prediction.shape == (12, 3, 32, 32)
    for b, p, frame in product(range(2), range(3), range(5)):
        expected = cut(moving, b, frame, ORIGINS[b, p], 16)
        assert torch.equal(restorer.network.lq[3 * b + p, frame], expected)
        assert torch.equal(restorer.network.noise_map[3 * b + p, frame], 0.1 * expected)
