"""Before and after, tile by tile."""

import dataclasses
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

import twostagealign as tsa
from twostagealign.data import ClipInMemory, bundled_picture, read_burst

TILING = tsa.Tiling(patch=16)


@pytest.fixture(scope="module")
def burst() -> tsa.RawBurst:
    photograph = bundled_picture("coffee")
    return tsa.simulate([photograph[100:170, left : left + 90] for left in (200, 204, 208)])


@pytest.fixture(scope="module")
def result(burst: tsa.RawBurst, tiny_checkpoint: Path) -> tsa.Result:
    return tsa.load(tiny_checkpoint, device="cpu").restore(burst, TILING)


@pytest.fixture
def comparison(burst: tsa.RawBurst, result: tsa.Result) -> tsa.Comparison:
    comparison = tsa.Comparison(burst)
    comparison.show(result.linear)
    return comparison


def far(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b).max())


def test_whole_picture_is_the_saved_one(comparison: tsa.Comparison, result: tsa.Result) -> None:
    assert comparison.size == (70, 90)
    assert np.array_equal(comparison.tile("after", 0, 0, 0, tsa.Look()), result.srgb)


def test_no_strength_shows_the_demosaicked_frame(comparison: tsa.Comparison) -> None:
    before = comparison.tile("before", 0, 0, 0, tsa.Look())
    assert np.array_equal(comparison.tile("after", 0, 0, 0, tsa.Look(strength=0)), before)
    assert far(comparison.tile("after", 0, 0, 0, tsa.Look()), before) > 50


def test_saved_blend_is_the_shown_one(comparison: tsa.Comparison, burst: tsa.RawBurst, result: tsa.Result) -> None:
    blend = result.blended(burst.demosaicked(), 0.5)
    assert far(comparison.tile("after", 0, 0, 0, tsa.Look(strength=0.5)), blend.srgb) <= 2
    assert np.array_equal(result.blended(burst.demosaicked(), 1).srgb, result.srgb)


def test_unfinished_part_looks_as_before(comparison: tsa.Comparison, result: tsa.Result) -> None:
    partly = result.linear.copy()
    partly[40:] = np.nan
    comparison.show(partly)
    tile, look = comparison.tile("after", 0, 0, 0, tsa.Look()), tsa.Look()
    assert np.array_equal(tile[:40], result.srgb[:40])
    assert np.array_equal(tile[40:], comparison.tile("before", 0, 0, 0, look)[40:])


def test_small_levels_show_all(comparison: tsa.Comparison, result: tsa.Result) -> None:
    tile = comparison.tile("after", 1, 0, 0, tsa.Look())
    assert tile.shape == (35, 45, 3)
    half = dataclasses.replace(result, linear=result.linear.reshape(35, 2, 45, 2, 3).mean(axis=(1, 3)))
    assert far(tile, half.render()) <= 1


def test_shrunk_picture_is_that_of_its_bands(comparison: tsa.Comparison, result: tsa.Result) -> None:
    """Each pixel shows a block of 2 ** level; the last row and column repeat what is there."""
    for level, block in ((2, 4), (7, 128)):
        height, width = (-(-side // block) for side in comparison.size)
        rows, columns = (
            np.arange(count * block).clip(max=side - 1)
            for count, side in zip((height, width), comparison.size, strict=True)
        )
        full = result.linear[rows][:, columns].reshape(height, block, width, block, 3)
        small = dataclasses.replace(result, linear=full.mean(axis=(1, 3)))
        assert far(comparison.tile("after", level, 0, 0, tsa.Look()), small.render()) <= 1


def test_a_tile_of_a_large_picture_takes_little_memory() -> None:
    burst = tsa.simulate(np.full((1, 1600, 1200, 3), 90, np.uint8))
    comparison = tsa.Comparison(burst)
    comparison.show(burst.demosaicked())
    whole = 4 * 3 * 1600 * 1200  # bytes of the picture in float32
    tracemalloc.start()
    comparison.tile("after", 2, 0, 0, tsa.Look(strength=0.5))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < whole / 3


def test_brightness_and_tone(comparison: tsa.Comparison) -> None:
    usual, bright, plain = (
        comparison.tile("before", 0, 0, 0, look).mean()
        for look in (tsa.Look(), tsa.Look(brightness=1), tsa.Look(tone="none"))
    )
    assert bright > usual + 10
    assert plain != usual


def test_automatic_brightness(tiny_checkpoint: Path) -> None:
    dark = tsa.burst_from_arrays(
        np.full((1, 16, 16), 0.01), tsa.CameraProfile.of_protocol(), noise=tsa.NoiseLevel("", 0, 0.01)
    )
    comparison, result = tsa.Comparison(dark), tsa.load(tiny_checkpoint, device="cpu").restore(dark, TILING)
    comparison.show(result.linear)
    look = tsa.Look(brightness="auto")
    assert np.array_equal(comparison.tile("after", 0, 0, 0, look), result.render("auto"))
    assert far(comparison.tile("before", 0, 0, 0, look), comparison.tile("before", 0, 0, 0, tsa.Look())) > 50


def test_tiles_outside_the_picture_are_refused(comparison: tsa.Comparison) -> None:
    for level, row, column in ((0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (60, 0, 0)):
        with pytest.raises(ValueError, match="outside the picture"):
            comparison.tile("before", level, row, column, tsa.Look())


def test_tiles_make_up_the_picture() -> None:
    clip = [np.random.default_rng(index).integers(0, 255, (520, 1030, 3), np.uint8) for index in range(2)]
    burst = tsa.simulate(clip)
    comparison = tsa.Comparison(burst)
    rows = [np.concatenate([comparison.tile("before", 0, row, c, tsa.Look()) for c in range(3)], 1) for row in range(2)]
    assert np.concatenate(rows).shape == (520, 1030, 3)
    assert not np.array_equal(rows[0][:, :512], rows[0][:, 512:1024])


@pytest.mark.parametrize(
    ("name", "value"), [("strength", 1.5), ("strength", float("nan")), ("brightness", 11), ("tone", "loud")]
)
def test_look_is_checked(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        tsa.Look(**{name: value})


def test_demosaicked_is_the_reference_frame(burst: tsa.RawBurst) -> None:
    picture = burst.demosaicked()
    assert (picture.shape, picture.dtype) == ((70, 90, 3), np.float32)
    samples = burst.frames.reference.raw().numpy()
    assert np.array_equal(picture[::2, ::2, 0], samples[0])  # sampled colours are kept
    assert np.array_equal(picture[1::2, 1::2, 2], samples[3])


def test_bands_do_not_show() -> None:
    mosaic = np.random.default_rng(0).random((1100, 12))
    whole, lower = (
        tsa.burst_from_arrays(
            part[None], tsa.CameraProfile.of_protocol(), noise=tsa.NoiseLevel("", 0, 0.01)
        ).demosaicked()
        for part in (mosaic, mosaic[2:])
    )
    assert np.array_equal(whole[6:], lower[4:])


def test_matches_of_a_moving_camera() -> None:
    """An example's frames move by known shifts; most patches find them."""
    burst = tsa.example("astronaut", frames=3)
    result = tsa.load("tiny", device="cpu").restore(burst, tsa.FAST)
    matches = tsa.Comparison(burst).matches(result, tsa.FAST)
    assert matches.shape == (3, result.shifts.shape[0] * result.shifts.shape[1], 4)
    assert not matches[1, :, 2:].any()
    assert np.array_equal(matches[0, 0, :2], [40, 40])  # centre of the first patch of 40 raw pixels
    assert np.array_equal(matches[0, :, 2:], 2 * result.shifts[:, :, 0, ::-1].reshape(-1, 2))


class TurnedClip(ClipInMemory):
    """A clip whose pictures lose two rows, then are mirrored and turned."""

    def finish(self, picture: np.ndarray, index: int) -> np.ndarray:
        return picture[2:, ::-1].swapaxes(0, 1)


def test_matches_of_a_turned_camera(burst: tsa.RawBurst, result: tsa.Result) -> None:
    clip = TurnedClip("turned", torch.zeros(3, 3, 70, 90, dtype=torch.uint8), tsa.NoiseLevel("", 0, 0.01))
    turned = tsa.RawBurst(clip, (0, 1, 2), read_burst(clip, (0, 1, 2)))
    straight, matches = (tsa.Comparison(each).matches(result, TILING) for each in (burst, turned))
    (x, y, dx, dy), (turned_x, turned_y, turned_dx, turned_dy) = straight.T, matches.T
    assert np.array_equal(turned_x, y - 2)
    assert np.array_equal(turned_y, 89 - x)
    assert np.array_equal(turned_dx, dy)
    assert np.array_equal(turned_dy, -dx)
    assert turned.thumbnail(0, 45).shape[:2] == (45, 34)
    assert turned.demosaicked().shape == (90, 68, 3)
