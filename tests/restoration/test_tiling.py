import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from twostagealign.data.burst import Burst, Levels, NoiseLevel, RawFrame
from twostagealign.isp import noise_map as deviation
from twostagealign.isp import protocol_camera
from twostagealign.matching import Matcher, Search
from twostagealign.merging import UNKNOWN
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.frame import restore_frame, restore_strips
from twostagealign.restoration.tiling import Tiling, count_tiles


class PixelNet(nn.Module):
    """Looks at single pixels only: the mean of red over the frames, the reference's noise, the reference's blue."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.seen = []

    def forward(self, lq, noise_map):
        self.seen.append((lq, noise_map))
        middle = lq.shape[1] // 2
        planes = torch.stack([lq[:, :, 0].mean(1), noise_map[:, middle, 1], lq[:, middle, 3]], dim=1)
        return self.scale * F.interpolate(planes, scale_factor=2, mode="nearest")


class MeanFeatures(nn.Module):
    """What little there is to match: the mean of each 4 x 4 block."""

    scale = 4

    def forward(self, raw):
        assert raw.dtype == torch.float32
        return raw.unflatten(-1, (-1, 4)).unflatten(-3, (-1, 4)).mean((-3, -1))


class NoFeatures(nn.Module):
    scale = 4

    def forward(self, raw):
        raise AssertionError("features are computed for nothing")


AT_REST, NEAR = Search(block_matching=False), Search(16)


def stub(features: nn.Module | None = None, search: Search = NEAR, refine: bool = False) -> TwoStageRestorer:
    return TwoStageRestorer(PixelNet(), features or MeanFeatures(), Matcher(4, search, refine)).eval()


def random_burst(frames: int, height: int, width: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, frames, 4, height, width, generator=generator)


def burst_of(lq, noise_map) -> Burst:
    return Burst([RawFrame(*planes) for planes in zip(lq, noise_map, strict=True)], protocol_camera())


def whole(lq, noise_map):
    """What `PixelNet` makes of whole frames."""
    return PixelNet()(lq[None], noise_map[None])[0].detach()


@settings(deadline=None, max_examples=40)
@given(
    frames=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    patch=st.sampled_from([4, 8, 12, 32]),
    halo=st.sampled_from([0, 4, 8]),
    overlap=st.sampled_from([0, 0, 4, 8]),
    batch=st.integers(1, 7),
    group=st.integers(1, 4),
)
def test_tiles_reassemble_to_exactly_what_the_whole_frame_gives(
    frames, height, width, patch, halo, overlap, batch, group
) -> None:
    lq, noise_map = random_burst(frames, height, width)
    overlap = min(overlap, halo, patch // 8 * 4)
    tiling = Tiling(patch=patch, halo=halo, overlap=overlap, batch=batch, group=group)
    finished = []
    restored = restore_frame(stub(NoFeatures(), AT_REST), burst_of(lq, noise_map), tiling, finished.append)
    assert restored.image.shape == (3, 2 * height, 2 * width)
    if overlap:
        torch.testing.assert_close(restored.image, whole(lq, noise_map), rtol=0, atol=1e-6)
    else:
        assert torch.equal(restored.image, whole(lq, noise_map))

    rows, columns = -(-height // patch), -(-width // patch)
    assert count_tiles((height, width), tiling) == rows * columns == sum(finished)
    assert all(0 < count <= batch * group**2 for count in finished)
    expected = [[row * patch, column * patch] for row in range(rows) for column in range(columns)]
    assert restored.origins.tolist() == expected
    assert restored.shifts.shape == (rows * columns, frames, 2)
    assert not restored.shifts.any()  # every patch stays where it is


@pytest.mark.parametrize(("height", "width"), [(56, 72), (53, 67), (9, 70)])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_matching_finds_what_moved(height, width, batch) -> None:
    """Content that moves by steps of the coarse search is found wherever it stays in view."""
    steps = torch.tensor([[16, -8], [8, -8], [0, 0], [0, 8], [-8, 16]])
    scene = torch.rand(4, height + 80, width + 80, generator=torch.Generator().manual_seed(1))
    lq = torch.stack([scene[:, 40 - y : 40 - y + height, 40 - x : 40 - x + width] for y, x in steps.tolist()])
    tiling = Tiling(patch=8, halo=4, batch=batch)
    restored = restore_frame(stub(search=Search(48)), burst_of(lq, torch.zeros_like(lq)), tiling)

    reach = 4 + 16  # of halo and motion
    inside = ((restored.origins >= reach) & (restored.origins + 8 + reach <= torch.tensor([height, width]))).all(-1)
    assert inside.any() == (height > 40)
    assert (restored.shifts[inside] == steps).all()
    assert not restored.shifts[:, 2].any()
    for y, x in restored.origins[inside].tolist():
        region = restored.image[:, 2 * y : 2 * y + 16, 2 * x : 2 * x + 16]
        expected = whole(lq[2:3], torch.zeros(1, 4, height, width))[:, 2 * y : 2 * y + 16, 2 * x : 2 * x + 16]
        torch.testing.assert_close(region, expected, rtol=0, atol=1e-6)


def test_beyond_the_frame_a_tile_sees_zeros() -> None:
    lq, noise_map = 1 + random_burst(3, 9, 14)
    restorer = stub(search=AT_REST)
    restore_frame(restorer, burst_of(lq, noise_map), Tiling(patch=8, halo=4, batch=1))
    padded = F.pad(lq, (4, 2 + 4, 4, 7 + 4))
    for index, (tile, noise) in enumerate(restorer.network.seen):
        y, x = 8 * (index // 2), 8 * (index % 2)
        assert torch.equal(tile[0], padded[..., y : y + 16, x : x + 16])
        assert ((noise == 0) == (tile == 0)).all()
    assert index == 3


@pytest.mark.parametrize("group", [2, 3, 100])
def test_patches_of_a_tile_are_aligned_one_by_one(group) -> None:
    """To a network that sees single pixels it is all the same how many patches it gets at once."""
    lq, noise_map = random_burst(5, 37, 50)
    alone, together = (
        restore_frame(stub(), burst_of(lq, noise_map), Tiling(patch=8, halo=4, group=count)) for count in (1, group)
    )
    assert alone.shifts.any()
    assert torch.equal(together.shifts, alone.shifts)
    assert torch.equal(together.image, alone.image)


def test_patches_are_found_to_the_pixel_where_the_checkpoint_says_so() -> None:
    """Motion by any number of pixels: with a network that sees single pixels, all frames come to look the same."""
    steps = torch.tensor([[9, -3], [0, 0], [-2, 6]])
    small = torch.rand(1, 4, 24, 24, generator=torch.Generator().manual_seed(1))
    scene = F.interpolate(small, scale_factor=5)[0]
    lq = torch.stack([scene[:, 40 - y : 80 - y, 40 - x : 80 - x] for y, x in steps.tolist()])
    restorer = stub(refine=True)
    restored = restore_frame(restorer, burst_of(lq, torch.zeros_like(lq)), Tiling(patch=8, halo=4))
    inside = (restored.origins == 16).all(-1)
    assert (restored.shifts[inside] == steps).all()
    assert not restored.shifts[:, 1].any()


@pytest.mark.parametrize("group", [1, 2])
def test_where_matches_are_refined_tiles_repeat_the_border_of_the_frame(group) -> None:
    """And are found where they lie in part beyond it."""
    small = torch.rand(1, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    scene = F.interpolate(small, scale_factor=5)[0]
    lq = torch.stack([scene[:, :32, 20 - x : 52 - x] for x in (-6, 0, 3)])
    restorer = stub(refine=True)
    tiling = Tiling(patch=16, halo=4, batch=1, group=group)
    restored = restore_frame(restorer, burst_of(lq, 0.1 * lq), tiling)
    left = restored.origins[:, 1] == 0
    assert (restored.shifts[left][:, 0] == torch.tensor([0, -6])).all()
    tile, noise = restorer.network.seen[0]
    padded = F.pad(lq, (30, 30, 30, 30), mode="replicate")
    width = 16 * group + 8
    for frame, x in enumerate((-6, 0, 3)):
        assert torch.equal(tile[0, frame, :, :, :12], padded[frame, :, 26 : 26 + width, 26 + x : 38 + x])
    assert torch.equal(noise, 0.1 * tile)


def test_a_network_that_averages_is_told_what_lies_beyond_the_border() -> None:
    small = torch.rand(1, 4, 8, 16, generator=torch.Generator().manual_seed(0))
    scene = F.interpolate(small, scale_factor=5)[0]
    lq = torch.stack([scene[:, :32, 20 - x : 52 - x] for x in (-6, 0, 3)])
    restorer = stub(refine=True)
    restorer.network.merge = True
    restored = restore_frame(restorer, burst_of(lq, 0.1 * lq), Tiling(patch=16, halo=4, batch=1))
    tile, noise = (seen[0] for seen in restorer.network.seen[0])
    assert torch.equal(noise[1], 0.1 * tile[1])  # in the reference frame, all is known
    for frame in (0, 2):
        top, left = (restored.origins[0] + restored.shifts[0, frame] - 4).tolist()
        assert (top, left) == (-4, {0: -10, 2: -1}[frame])
        unknown = torch.zeros(24, 24, dtype=torch.bool)
        unknown[:-top], unknown[:, :-left] = True, True
        assert (noise[frame][:, unknown] == UNKNOWN).all()
        assert torch.equal(noise[frame][:, ~unknown], 0.1 * tile[frame][:, ~unknown])


@pytest.mark.parametrize("overlap", [0, 4])
def test_the_halo_of_a_tile_goes_with_the_patches_at_its_border(overlap) -> None:
    lq, noise_map = random_burst(3, 16, 24)
    restorer = stub()
    tiling = Tiling(patch=8, halo=4, group=2, batch=1, overlap=overlap)
    restored = restore_frame(restorer, burst_of(lq, noise_map), tiling)
    (first, _), (last, _) = restorer.network.seen
    assert (first.shape[-2:], last.shape[-2:]) == ((24, 24), (24, 16))
    padded = F.pad(lq, (30, 30, 30, 30))
    y, x = (restored.origins[4] + restored.shifts[4, 0] + 30).tolist()  # row 1, column 1; in frame 0
    assert torch.equal(first[0, 0, :, 12:, 12:], padded[0, :, y : y + 12, x : x + 12])


def test_the_noise_map_is_computed_from_the_noise_level() -> None:
    lq = random_burst(3, 21, 35)[0]
    tiling = Tiling(patch=8, halo=4, batch=2)
    stored, computed = stub(), stub()
    image = restore_frame(stored, burst_of(lq, deviation(lq, 0.04, 0.3)), tiling).image
    burst = Burst([RawFrame(planes, NoiseLevel("known", 0.04, 0.3)) for planes in lq], protocol_camera())
    assert torch.equal(restore_frame(computed, burst, tiling).image, image)
    for (_, expected), (_, noise) in zip(stored.network.seen, computed.network.seen, strict=True):
        assert torch.equal(noise, expected)  # 0 beyond the frame


@pytest.mark.parametrize(("group", "overlap"), [(1, 0), (2, 4)])
def test_strips_come_as_soon_as_they_are_done_and_make_the_whole_picture(group, overlap) -> None:
    lq, noise_map = random_burst(3, 37, 50)
    tiling = Tiling(patch=8, halo=4, batch=3, group=group, overlap=overlap)
    strips, done, when = [], [], []
    restored = restore_frame(stub(), burst_of(lq, noise_map), tiling)
    matches = restore_strips(
        stub(),
        burst_of(lq, noise_map),
        tiling,
        lambda strip: when.append(sum(done)) or strips.append(strip),
        done.append,
    )
    assert torch.equal(torch.cat(strips, dim=1), restored.image)
    assert torch.equal(matches.shifts, restored.shifts)
    rows = -(-37 // (8 * group))
    assert when == [min((i + 1) * group, 5) * 7 for i in range(rows)]  # 5 x 7 patches
    assert max(strip.shape[1] for strip in strips) == 2 * 8 * group


def test_frames_can_stay_as_a_camera_stored_them() -> None:
    stored = torch.from_numpy(np.random.default_rng(0).integers(0, 2**16, (3, 4, 21, 35), dtype=np.uint16))
    tiling = Tiling(patch=8, halo=4)
    black = torch.tensor([20000, 21000, 22000, 23000])
    noise = NoiseLevel("known", 0.04, 0.3)
    frames = [RawFrame(planes, noise, Levels(tuple(black.tolist()), 50000)) for planes in stored]
    restored = restore_frame(stub(), Burst(frames, protocol_camera()), tiling)
    scale = 50000 - black[:, None, None]
    lq = ((stored.float() - black[:, None, None]) / scale).clamp(0, 1)
    expected = restore_frame(stub(), burst_of(lq, deviation(lq, 0.04, 0.3)), tiling)
    assert torch.equal(restored.image, expected.image)
    assert torch.equal(restored.shifts, expected.shifts)
    assert restored.shifts.any()


def test_matched_patches_take_their_noise_map_along() -> None:
    lq = random_burst(5, 40, 40)[0]
    restorer = stub(search=Search(32))
    restored = restore_frame(restorer, burst_of(lq, 2 * lq), Tiling(patch=16, halo=4))
    assert restored.shifts.any()
    for tile, noise in restorer.network.seen:
        assert torch.equal(noise, 2 * tile)


@pytest.mark.parametrize(("height", "width"), [(21, 35), (6, 5)])
def test_the_batch_of_tiles_does_not_change_the_picture(make_restorer, height, width) -> None:
    restorer = make_restorer()
    lq, noise_map = random_burst(3, height, width)
    images = [
        restore_frame(restorer, burst_of(lq, 0.1 * noise_map), Tiling(16, 4, batch)).image.double()
        for batch in (1, 4, 100)
    ]
    assert images[0].shape == (3, 2 * height, 2 * width)
    assert images[0].std() > 0
    for image in images[1:]:
        torch.testing.assert_close(image, images[0], rtol=0, atol=1e-5 * images[0].abs().max().item())


def test_the_network_s_dtype_is_its_own_affair() -> None:
    lq, noise_map = random_burst(3, 12, 12)
    restorer = stub()
    restorer.network.to(torch.bfloat16)
    restored = restore_frame(restorer, burst_of(lq, noise_map), Tiling(8, 4))
    assert restorer.network.seen[0][0].dtype == torch.bfloat16
    assert restored.image.dtype == torch.float32
    torch.testing.assert_close(restored.image[1:], whole(lq, noise_map)[1:], rtol=1e-2, atol=1e-2)


def test_overlapping_tiles_are_faded_into_each_other() -> None:
    """Where two tiles disagree, their restorations give way to each other linearly; elsewhere each is kept as it is."""

    class Numbering(PixelNet):
        def forward(self, lq, noise_map):
            self.seen.append(len(self.seen))
            return torch.full((1, 3, 2 * lq.shape[-2], 2 * lq.shape[-1]), float(self.seen[-1]))

    restorer = TwoStageRestorer(Numbering(), NoFeatures(), Matcher(4, AT_REST))
    lq = torch.zeros(1, 4, 8, 32)
    tiling = Tiling(patch=16, halo=8, overlap=4, batch=1)
    row = restore_frame(restorer, burst_of(lq, lq), tiling).image[0, 3]
    ramp = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(row, torch.cat([torch.zeros(24), ramp, torch.ones(24)]), rtol=0, atol=1e-5)


def test_no_gradient_is_kept() -> None:
    lq, noise_map = random_burst(3, 12, 12)
    assert not restore_frame(stub(), burst_of(lq, noise_map), Tiling(8, 4)).image.requires_grad


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patch": 0}, "patch: found 0, expected a multiple of 4, at least 4"),
        ({"patch": 30}, "patch: found 30, expected a multiple of 4"),
        ({"halo": -4}, "halo: found -4, expected a multiple of 4, at least 0"),
        ({"halo": 2}, "halo: found 2"),
        ({"batch": 0}, "batch: found 0, expected at least 1"),
        ({"group": 0}, "group: found 0, expected at least 1"),
        ({"overlap": 2}, "overlap: found 2, expected a multiple of 4"),
        ({"overlap": 8}, "overlap: found 8, expected at most 4, the halo and half the patch"),
    ],
)
def test_bad_sizes(arguments, message) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Tiling(**arguments)
