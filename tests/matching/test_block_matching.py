import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from twostagealign.matching import candidate_windows
from twostagealign.matching.refinement import refine_beyond, refine_match
from twostagealign.matching.search import blend_patches, hard_match, score_candidates, soft_match

DATA = Path(__file__).parents[1] / "data"
TEMPERATURE = 0.1


# An independent implementation: one window, one frame, one candidate at a time, in float64.


def outward(frames: int) -> Iterator[list[int]]:
    yield list(range(frames // 2 - 1, -1, -1))
    yield list(range(frames // 2 + 1, frames))


def cut(image: np.ndarray, position: tuple[int, int], size: int) -> np.ndarray:
    y, x = position
    return image[:, y : y + size, x : x + size]


def search(reference: np.ndarray, image: np.ndarray, start, reach: int, step: int, size: int, inclusive: bool = True):
    """Candidates that count, in raster order, and their distances."""
    last = [length - size + inclusive for length in image.shape[1:]]
    offsets = range(-reach, reach + inclusive, step)
    grid = [(start[0] + dy, start[1] + dx) for dy in offsets for dx in offsets]
    candidates = [(y, x) for y, x in grid if 0 <= y < last[0] and 0 <= x < last[1]]
    return candidates, [np.abs(reference - cut(image, candidate, size)).mean() for candidate in candidates]


def hard_by_hand(images: np.ndarray, origin, size: int, radius: int, inclusive: bool = True) -> np.ndarray:
    positions = np.tile(origin, (len(images), 1))
    reference = cut(images[len(images) // 2], origin, size)
    for direction in outward(len(images)):
        start = origin
        for frame in direction:
            for reach, step in ((radius, 2), (2, 1)):
                candidates, distances = search(reference, images[frame], start, reach, step, size, inclusive)
                start = candidates[distances.index(min(distances))]
            positions[frame] = start
    return positions


def soft_by_hand(images: np.ndarray, origin, size: int, radius: int) -> dict[int, tuple]:
    """For every frame but the reference: candidates that count, their scores and their weights."""
    result = {}
    reference = cut(images[len(images) // 2], origin, size)
    for direction in outward(len(images)):
        start = origin
        for frame in direction:
            candidates, distances = search(reference, images[frame], start, radius, 2, size)
            start = candidates[distances.index(min(distances))]
            scores = -np.array(distances) / (math.sqrt(sum(d * d for d in distances)) or 1)
            weights = np.exp((scores - scores.max()) / TEMPERATURE)
            result[frame] = candidates, scores, weights / weights.sum()
    return result


def refined_by_hand(images: np.ndarray, origin, positions: np.ndarray, size: int) -> np.ndarray:
    """Search on in every frame but the reference."""
    refined = positions.copy()
    reference = cut(images[len(images) // 2], origin, size)
    for frame in set(range(len(images))) - {len(images) // 2}:
        for reach, step in ((4, 2), (1, 1)):
            candidates, distances = search(reference, images[frame], refined[frame], reach, step, size)
            refined[frame] = candidates[distances.index(min(distances))]
    return refined


def beyond_by_hand(images: np.ndarray, origin, positions: np.ndarray, size: int) -> np.ndarray:
    """Search on where a part of the windows may lie outside, in every frame but the reference."""
    refined, sides, reference = positions.copy(), images.shape[2:], len(images) // 2

    def known(*corners) -> list[slice]:
        """Rows and columns of the windows at `corners` that lie in the frame."""
        firsts = [max(0, *(-corner[axis] for corner in corners)) for axis in (0, 1)]
        ends = [min(size, *(sides[axis] - corner[axis] for corner in corners)) for axis in (0, 1)]
        return [slice(first, max(first, end)) for first, end in zip(firsts, ends, strict=True)]

    def part(image, corner, rows, columns):
        (y, x) = corner
        return image[0, y + rows.start : y + rows.stop, x + columns.start : x + columns.stop]

    least = part(images[reference], origin, *known(origin)).size / 2
    for frame in set(range(len(images))) - {reference}:
        for reach, step in ((16, 4), (4, 2), (1, 1)):
            best, (y, x) = math.inf, refined[frame]
            for dy, dx in np.ndindex(2 * reach // step + 1, 2 * reach // step + 1):
                candidate = (y - reach + step * dy, x - reach + step * dx)
                both = known(origin, candidate)
                own, other = part(images[reference], origin, *both), part(images[frame], candidate, *both)
                if own.size >= least and np.abs(own - other).mean() < best:
                    best, refined[frame] = np.abs(own - other).mean(), candidate
    return refined


def of_all_windows(by_hand, images: np.ndarray, origins: np.ndarray, starts: np.ndarray, size: int) -> list:
    """What a search by hand finds for each window of each burst from where it starts."""
    bursts = zip(images, origins, starts, strict=True)
    return [[by_hand(burst, *places, size) for places in zip(*own, strict=True)] for burst, *own in bursts]


@st.composite
def cases(draw: st.DrawFn, smallest_radius: int = 0, smallest_room: int = 0):
    """Bursts of few grey levels, so that ties are common and sums exact, and origins that like the borders."""
    batch, frames, channels = draw(st.integers(1, 2)), draw(st.integers(1, 6)), draw(st.integers(1, 2))
    size, radius = draw(st.integers(1, 8)), draw(st.integers(smallest_radius, 4))
    room_y, room_x = (draw(st.integers(max(radius % 2, smallest_room), 8)) for _ in "yx")
    random = np.random.default_rng(draw(st.integers(0, 999)))
    levels = draw(st.sampled_from([1, 2, 4]))
    images = random.integers(0, levels, (batch, frames, channels, size + room_y, size + room_x)).astype(float)
    origins = np.stack([random.integers(0, room + 1, (batch, 3)) for room in (room_y, room_x)], -1)
    origins[:, 0] = draw(st.sampled_from([(0, 0), (0, room_x), (room_y, 0), (room_y, room_x)]))
    return images, origins, size, radius


# Agreement with it, and with reference numbers


@settings(deadline=None, max_examples=40)
@given(case=cases())
def test_hard_match_equals_search_by_hand(case) -> None:
    images, origins, size, radius = case
    positions = hard_match(torch.tensor(images).float(), torch.tensor(origins), size, radius)
    expected = [
        [hard_by_hand(burst, origin, size, radius) for origin in own]
        for burst, own in zip(images, origins, strict=True)
    ]
    np.testing.assert_array_equal(positions.numpy(), expected)


@settings(deadline=None, max_examples=20)
@given(case=cases(smallest_radius=2, smallest_room=2))
def test_hard_match_can_leave_out_the_last_candidates(case) -> None:
    images, origins, size, radius = case
    positions = hard_match(torch.tensor(images).float(), torch.tensor(origins), size, radius, inclusive=False)
    expected = [
        [hard_by_hand(burst, origin, size, radius, inclusive=False) for origin in own]
        for burst, own in zip(images, origins, strict=True)
    ]
    np.testing.assert_array_equal(positions.numpy(), expected)


@settings(deadline=None, max_examples=30)
@given(case=cases())
def test_refine_match_equals_search_by_hand(case) -> None:
    images, origins, size, _ = case
    starts = np.repeat(origins[:, ::-1, None], images.shape[1], axis=2)  # where another window lies
    starts[:, :, images.shape[1] // 2] = origins
    refined = refine_match(*map(torch.tensor, (images, origins, starts)), size)
    np.testing.assert_array_equal(refined.numpy(), of_all_windows(refined_by_hand, images, origins, starts, size))


@settings(deadline=None, max_examples=20)
@given(case=cases(), outside=st.integers(0, 3), seed=st.integers(0, 99))
def test_refine_beyond_equals_search_by_hand(case, outside: int, seed: int) -> None:
    images, origins, size, _ = case
    images, random = images[:, :, :1], np.random.default_rng(seed)
    origins = origins + random.integers(-(size // 2), size // 2 + 1, origins.shape)  # at least a quarter is inside
    starts = np.repeat(origins[:, :, None], images.shape[1], axis=2)
    starts[:, :, : images.shape[1] // 2] += random.integers(-outside, outside + 1, 2)
    refined = refine_beyond(*map(torch.tensor, (images, origins, starts)), size)
    np.testing.assert_array_equal(refined.numpy(), of_all_windows(beyond_by_hand, images, origins, starts, size))


def test_refine_beyond_inside_and_at_the_border() -> None:
    """Patches of which all candidates are inside, and others, in a batch of two bursts."""
    random = np.random.default_rng(0)
    images = random.integers(0, 9, (2, 3, 1, 64, 70)).astype(float)
    images[:, ::2] += 5  # nothing looks more like the reference frame than what is unknown
    origins = np.array([[(25, 28), (0, 40), (27, 24)], [(24, 26), (22, 30), (60, 66)]])
    starts = np.repeat(origins[:, :, None], 3, axis=2)
    refined = refine_beyond(*map(torch.tensor, (images, origins, starts)), 6)
    np.testing.assert_array_equal(refined.numpy(), of_all_windows(beyond_by_hand, images, origins, starts, 6))


@settings(deadline=None, max_examples=30)
@given(case=cases())
def test_soft_match_and_blend_equal_search_by_hand(case) -> None:
    images, origins, size, radius = case
    scale = 3
    raw = np.random.default_rng(0).random((*images.shape[:3], scale * images.shape[3], scale * images.shape[4]))
    match = soft_match(torch.tensor(images), torch.tensor(origins), size, radius, TEMPERATURE)
    aligned = blend_patches(torch.tensor(raw), match, scale * size, scale).numpy()
    for burst, patch in np.ndindex(origins.shape[:2]):
        origin = origins[burst, patch]
        expected = soft_by_hand(images[burst], origin, size, radius)
        for frame in range(images.shape[1]):
            one = burst, patch, frame
            valid = match.valid[one]
            if frame not in expected:
                assert not valid.any()
                assert match.weights[one].abs().sum() == match.scores[one].abs().sum() == 0
                assert (match.candidates[one] == torch.tensor(origin)).all()
                assert match.positions[one].tolist() == origin.tolist()
                np.testing.assert_array_equal(aligned[one], cut(raw[burst, frame], scale * origin, scale * size))
                continue
            candidates, scores, weights = expected[frame]
            assert [tuple(candidate) for candidate in match.candidates[one][valid].tolist()] == candidates
            assert tuple(match.positions[one].tolist()) == candidates[int(scores.argmax())]
            np.testing.assert_allclose(match.scores[one][valid], scores, atol=1e-12)
            np.testing.assert_allclose(match.weights[one][valid], weights, atol=1e-12)
            assert match.scores[one][~valid].abs().sum() == match.weights[one][~valid].abs().sum() == 0
            patches = [cut(raw[burst, frame], (scale * y, scale * x), scale * size) for y, x in candidates]
            np.testing.assert_allclose(aligned[one], np.tensordot(weights, patches, 1), atol=1e-12)


def test_hard_match_equals_reference_numbers() -> None:
    golden = np.load(DATA / "block_matching.npz")
    features, origins = torch.from_numpy(golden["features"]), torch.from_numpy(golden["origins"])
    positions = hard_match(features[None], origins[None], int(golden["size"]), int(golden["radius"]))
    np.testing.assert_array_equal(positions[0].numpy(), golden["positions"])


@pytest.mark.parametrize("temperature", [0.01, 0.001])
@pytest.mark.parametrize("index", [3, 4, 5])
def test_soft_match_equals_reference_numbers(index: int, temperature: float) -> None:
    golden = np.load(DATA / "block_matching.npz")
    size, radius, scale = int(golden["size"]), int(golden["radius"]), int(golden["scale"])
    features = torch.from_numpy(golden["features"])[None]
    frames = torch.from_numpy(golden["frames"]).float()[None]
    match = soft_match(features, torch.from_numpy(golden["origins"])[None, [index]], size, radius, temperature)
    prefix = f"soft/{index}/{temperature}"
    for frame in (0, 1, 3, 4):
        valid = match.valid[0, 0, frame]
        np.testing.assert_array_equal(match.candidates[0, 0, frame][valid], golden[f"{prefix}/frame{frame}/candidates"])
        for field in ("scores", "weights"):
            assert_agrees(getattr(match, field)[0, 0, frame][valid], golden[f"{prefix}/frame{frame}/{field}"])
    aligned = blend_patches(frames, match, scale * size, scale)[0, 0]
    assert_agrees(aligned[..., :8, :8], golden[f"{prefix}/aligned_corner_8x8"])
    assert_agrees(aligned.mean((-2, -1)), golden[f"{prefix}/aligned_mean_per_frame_channel"])


def assert_agrees(output: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(output.numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


# What users rely on


def random_burst(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_a_shift_beyond_the_radius_is_followed_from_frame_to_frame() -> None:
    # Smooth, so that the coarse search comes near an odd shift; twice the shift is out of reach of coarse plus fine.
    scene = F.interpolate(random_burst(1, 4, 18, 18), scale_factor=6, mode="bicubic")[0]
    shift = np.array([3, -5])
    corners = [np.array([30, 30]) - (frame - 2) * shift for frame in range(5)]
    features = torch.stack([scene[:, y : y + 48, x : x + 48] for y, x in corners])
    origins = torch.tensor([[[16, 17], [14, 20]]])
    positions = hard_match(features[None], origins, size=16, radius=4)
    expected = origins[:, :, None] + torch.tensor(np.array([(frame - 2) * shift for frame in range(5)]))
    assert positions.tolist() == expected.tolist()


def test_ties_go_to_the_first_in_raster_order() -> None:
    positions = hard_match(torch.full((1, 3, 16, 40, 60), 0.1), torch.tensor([[[16, 30], [3, 51]]]), 8, 8)
    # 8 up and left in the coarse search, 2 more in the fine one; at the border the first that fits.
    assert positions[0, :, 0].tolist() == positions[0, :, 2].tolist() == [[6, 20], [0, 41]]


def test_results_do_not_depend_on_the_chunks() -> None:
    """Candidate windows of all patches exceed the memory budget; those of one patch do not."""
    features, raw = random_burst(1, 4, 16, 40, 44), random_burst(1, 4, 4, 80, 88, seed=1)
    origins = torch.cartesian_prod(torch.arange(0, 21, 4), torch.arange(0, 25, 4))[None]

    def results(origins: Tensor) -> list[Tensor]:
        match = soft_match(features, origins, 16, 8, TEMPERATURE)
        return [*vars(match).values(), blend_patches(raw, match, 32, 2), hard_match(features, origins, 16, 8)]

    one_by_one = [results(origin) for origin in origins.split(1, dim=1)]
    for together, parts in zip(results(origins), zip(*one_by_one, strict=True), strict=True):
        torch.testing.assert_close(together, torch.cat(parts, dim=1), rtol=0, atol=0)


class LargestTensor(TorchDispatchMode):
    """Keeps the number of elements of the largest tensor that an operation allocates."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for output in result if isinstance(result, tuple | list) else [result]:
            if isinstance(output, Tensor):
                storage = output.untyped_storage().nbytes() // output.element_size()
                self.elements = max(self.elements, storage)
        return result


def test_memory_stays_within_the_budget() -> None:
    budget = candidate_windows.CPU_CHUNK_ELEMENTS
    features, raw = random_burst(1, 3, 16, 44, 44), random_burst(1, 3, 4, 88, 88, seed=1)
    origins = torch.cartesian_prod(torch.arange(0, 28, 4), torch.arange(0, 28, 4))[None]
    # All candidate windows together: 49 patches x 2 frames x 25 candidates x 16 x 16 x 16 = 10 million numbers.
    with LargestTensor() as largest:
        match = soft_match(features, origins, 16, 4, TEMPERATURE)
        hard_match(features, origins, 16, 4)
    assert largest.elements <= budget
    with LargestTensor() as largest:
        aligned = blend_patches(raw, match, 32, 2)
    assert largest.elements <= max(budget, aligned.numel())


@pytest.fixture(scope="module")
def moving() -> Tensor:
    """Features of a texture that moves by (2, -3) from frame to frame, with a little noise, (1, 5, 6, 60, 60)."""
    scene = F.interpolate(random_burst(1, 6, 24, 24), scale_factor=4, mode="bicubic")[0]
    frames = [scene[:, 8 + 2 * k : 68 + 2 * k, 20 - 3 * k : 80 - 3 * k] for k in range(5)]
    return (torch.stack(frames) + 0.05 * random_burst(5, 6, 60, 60))[None]


@pytest.mark.parametrize("size", [4, 7, 12, 13, 18, 20])
def test_elimination_spares_the_nearest_and_most_of_the_work(moving: Tensor, size: int) -> None:
    maps = candidate_windows.channels_last(moving)
    origins = torch.tensor([[[20, 20], [0, 31], [8, 3]]])
    offsets = torch.cartesian_prod(torch.arange(-8, 9, 2), torch.arange(-8, 9, 2))
    candidates = (origins[:, :, None, None] + offsets).expand(-1, -1, 2, -1, -1)
    valid = ((candidates >= 0) & (candidates <= 60 - size)).all(-1)
    args = (origins, [1, 3], candidates)
    distances = candidate_windows.window_distances(maps, *args, size, 2).masked_fill(~valid, torch.inf)
    blocks = candidate_windows.block_means(maps, size)
    found = candidate_windows.least_distances(maps, blocks, *args, valid, size, 2)
    kept = found.isfinite()
    torch.testing.assert_close(found[kept], distances[kept])
    assert torch.equal(found.argmin(-1), distances.argmin(-1))
    assert kept.float().mean() < 0.2
    assert not kept[~valid].any()


def test_what_blocks_leave_over_counts_in_favour_of_a_candidate() -> None:
    """Windows of 7x7 have blocks of 3x3 and a row and a column left over."""
    maps = torch.zeros(1, 2, 14, 14, 1)  # the reference is 0
    maps[0, 0, 7:] = 10
    maps[0, 0, :6, :6] = 1  # the nearest, by 36 / 49: equal in what is left over
    maps[0, 0, :6, 7:13] = torch.tensor([5 / 3, -5 / 3, 0] * 2)[:, None]  # 40 / 49, though its blocks have a mean of 0
    candidates = torch.tensor([[0, 0], [0, 7], [7, 0], [7, 7]]).reshape(1, 1, 1, 4, 2)
    blocks = candidate_windows.block_means(maps, 7)
    valid = torch.ones(1, 1, 1, 4, dtype=torch.bool)
    origins = torch.zeros(1, 1, 2, dtype=torch.long)
    found = candidate_windows.least_distances(maps, blocks, origins, [0], candidates, valid, 7, 7).flatten()
    torch.testing.assert_close(found[:2], torch.tensor([36 / 49, 40 / 49]))


@pytest.mark.parametrize("size", [5, 12])
@pytest.mark.parametrize("matches", [True, False])
def test_results_do_not_depend_on_how_much_is_eliminated(moving: Tensor, size: int, matches: bool) -> None:
    """Most candidates are eliminated in frames that match, few in random ones."""
    features = moving if matches else random_burst(1, 5, 6, 60, 60)
    origins = torch.tensor([[[20, 20], [0, 31], [40, 40]]])
    expected = [hard_by_hand(features[0].double().numpy(), origin, size, 8) for origin in origins[0].numpy()]
    np.testing.assert_array_equal(hard_match(features, origins, size, 8)[0].numpy(), expected)


def test_features_that_are_no_numbers_leave_the_windows_inside_the_map() -> None:
    features = random_burst(1, 5, 3, 30, 30)
    features[:, 1] = torch.nan
    positions = hard_match(features, torch.tensor([[[0, 0], [18, 18], [9, 4]]]), 12, 8)
    assert (positions >= 0).all()
    assert (positions <= 30 - 12).all()


@given(size=st.integers(1, 50), seed=st.integers(0, 99))
def test_blocks_never_differ_more_than_windows(size: int, seed: int) -> None:
    first, second = random_burst(2, 1, 1, size, size, 2, seed=seed, dtype=torch.float64)
    side = candidate_windows.block_side(size)
    means = [candidate_windows.block_means(window, size)[:, :, ::side, ::side] for window in (first, second)]
    assert means[0].shape[2:4] == (size // side, size // side)
    bound = side**2 * (means[0] - means[1]).abs().sum()
    assert bound <= (first - second).abs().sum() * (1 + 1e-12)


def test_a_low_temperature_takes_the_best_patch_alone() -> None:
    features, raw = random_burst(2, 5, 3, 12, 12), random_burst(2, 5, 8, 48, 48, seed=1)
    match = soft_match(features, torch.tensor([[[4, 3]], [[2, 6]]]), 4, 4, 1e-7)
    patches = blend_patches(raw, match, 16)
    for burst, frame in np.ndindex(2, 5):
        y, x = 4 * match.positions[burst, 0, frame]
        torch.testing.assert_close(patches[burst, 0, frame], raw[burst, frame, :, y : y + 16, x : x + 16])


def test_score_candidates_repeats_the_scores_of_the_match_on_its_own_maps() -> None:
    features = random_burst(2, 4, 3, 10, 11)
    origins = torch.tensor([[[0, 0], [3, 5]], [[6, 7], [2, 1]]])
    match = soft_match(features, origins, 4, 3, TEMPERATURE)
    torch.testing.assert_close(score_candidates(features, origins, match, 4), match.scores, rtol=0, atol=0)


def test_score_candidates_scores_the_same_candidates_on_other_maps() -> None:
    size, origins = 4, torch.tensor([[[2, 3]]])
    match = soft_match(random_burst(1, 3, 16, 10, 10), origins, size, 2, TEMPERATURE)
    clean = random_burst(1, 3, 4, 10, 10, seed=1, dtype=torch.float64)
    scores = score_candidates(clean, origins, match, size)[0, 0]
    assert scores[1].abs().sum() == 0
    reference = cut(clean[0, 1].numpy(), (2, 3), size)
    for frame in (0, 2):
        valid = match.valid[0, 0, frame]
        windows = [cut(clean[0, frame].numpy(), (y, x), size) for y, x in match.candidates[0, 0, frame][valid].tolist()]
        distances = np.abs(np.array(windows) - reference).mean((1, 2, 3))
        np.testing.assert_allclose(scores[frame][valid], -distances / np.linalg.norm(distances), atol=1e-12)


@pytest.mark.parametrize("radius", [2, 3])
def test_a_window_that_fits_nowhere_is_refused(radius: int) -> None:
    features, origins = torch.zeros(1, 3, 2, 12, 7), torch.zeros(1, 1, 2, dtype=torch.long)
    size = 8 - radius % 2  # An odd radius has no candidate in place, and a map as large as the window no other.
    message = rf"window of {size}x{size} .* map of 12x7"
    with pytest.raises(ValueError, match=message):
        hard_match(features, origins, size, radius)
    with pytest.raises(ValueError, match=message):
        soft_match(features, origins, size, radius, TEMPERATURE)


# Gradients


def test_gradients_of_scores_and_weights_equal_finite_differences() -> None:
    features = random_burst(1, 4, 2, 7, 8, dtype=torch.float64).requires_grad_()
    origins = torch.tensor([[[2, 2], [0, 5]]])

    def scores_and_weights(features: Tensor) -> tuple[Tensor, Tensor]:
        match = soft_match(features, origins, 3, 2, TEMPERATURE)
        return match.scores, match.weights

    assert torch.autograd.gradcheck(scores_and_weights, features, fast_mode=True)


def test_gradients_of_the_blend_equal_finite_differences() -> None:
    maps = random_burst(1, 3, 1, 12, 12, dtype=torch.float64).requires_grad_()
    match = soft_match(random_burst(1, 3, 2, 6, 6, dtype=torch.float64), torch.tensor([[[0, 2]]]), 3, 2, TEMPERATURE)
    weights = match.weights.requires_grad_()

    def blend(weights: Tensor, maps: Tensor) -> Tensor:
        return blend_patches(maps, replace(match, weights=weights), 6, 2)

    assert torch.autograd.gradcheck(blend, (weights, maps), fast_mode=True)


def test_gradient_of_the_aligned_patches_reaches_the_features_of_every_frame() -> None:
    features = random_burst(2, 5, 3, 12, 12).requires_grad_()
    match = soft_match(features, torch.tensor([[[4, 4]], [[0, 7]]]), 4, 4, TEMPERATURE)
    blend_patches(random_burst(2, 5, 8, 48, 48, seed=1), match, 16).square().sum().backward()
    assert (features.grad.abs().sum((2, 3, 4)) > 0).all()


def test_values_and_gradients_are_finite_where_all_distances_are_0() -> None:
    features = torch.full((1, 3, 2, 8, 8), 0.3, requires_grad=True)
    match = soft_match(features, torch.tensor([[[0, 2]]]), 4, 4, TEMPERATURE)
    assert 0 < match.valid[0, 0, 0].sum() < 25
    expected = match.valid / match.valid.sum(-1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(match.weights, expected)
    (match.weights.square().sum() + match.scores.sum()).backward()
    assert features.grad.isfinite().all()


def test_hard_match_keeps_nothing_for_a_backward_pass() -> None:
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        hard_match(random_burst(1, 3, 2, 8, 8).requires_grad_(), torch.tensor([[[2, 2]]]), 4, 2)
    assert not kept


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_finds_what_single_precision_finds(dtype: torch.dtype) -> None:
    """Also where all features lie far from zero, and the sums over a window are beyond what the type can tell apart."""
    features = (random_burst(1, 5, 16, 40, 40) + 8).to(dtype)
    origins = torch.tensor([[[8, 8], [4, 12]]])
    assert torch.equal(hard_match(features, origins, 20, 4), hard_match(features.float(), origins, 20, 4))
