"""Bursts from files, arrays and clean pictures."""

import re
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import twostagealign as tsa
from twostagealign.data import (
    PROTOCOL_NOISE,
    ClipInMemory,
    bundled_picture,
    read_picture,
    write_picture,
    write_raw_folder,
)
from twostagealign.data import read_burst as read_window
from twostagealign.isp import CFA_ORDERS, add_noise, mosaic, protocol_camera, unpack, unprocess

CAMERA = tsa.CameraProfile.of_protocol()
NOISE = tsa.NoiseLevel("bench", 2e-3, 1e-2)
BLACK = [60, 64, 68, 72]


def make_mosaics(frames: int = 4, height: int = 19, width: int = 27) -> torch.Tensor:
    return torch.rand(frames, height, width, generator=torch.Generator().manual_seed(0))


def write_folder(folder: Path, cfa: str = "RGGB", frames: int = 4) -> list[Path]:
    write_raw_folder(folder, make_mosaics(frames), protocol_camera(), 2e-3, 1e-2, cfa, BLACK, 1023)
    return sorted(folder.glob("*.png"))


def read_stored(paths: list[Path]) -> np.ndarray:
    return np.stack([cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in paths])


@pytest.mark.parametrize("cfa", CFA_ORDERS)
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, list], ids=["numpy", "torch", "list"])
def test_arrays_and_folder_give_the_same_burst(tmp_path: Path, cfa: str, kind) -> None:
    paths = write_folder(tmp_path, cfa)
    read = tsa.read_burst(tmp_path, reference="middle")
    stored = kind(read_stored(paths).astype(np.int32))
    made = tsa.burst_from_arrays(stored, CAMERA, cfa=cfa, black_level=BLACK, white_level=1023, noise=NOISE)
    assert len(made) == len(read) == 4
    assert made.reference == read.reference == 2
    for one, other in zip(made.frames.frames, read.frames.frames, strict=True):
        assert all(map(torch.equal, one.read(), other.read()))
    picture = np.arange(4 * np.prod(read.frames.size)).reshape([2 * side for side in read.frames.size])
    assert made.source.finish(picture, 0).shape == (19, 27)
    assert np.array_equal(made.source.finish(picture, 0), read.source.finish(picture, 0))


def test_floats_are_the_scaled_integers() -> None:
    stored = (make_mosaics() * 959).round() + 64
    integers = tsa.burst_from_arrays(stored.int(), CAMERA, black_level=64, white_level=1023, noise=NOISE)
    floats = tsa.burst_from_arrays((stored - 64) / 959, CAMERA, noise=NOISE)
    assert torch.equal(integers.frames.stack()[0], floats.frames.stack()[0])
    assert torch.equal(integers.frames.stack()[1], floats.frames.stack()[1])


def test_noise_is_estimated_from_all_frames() -> None:
    """A textured photograph that moves: any of the frames alone is further off."""
    shot, read = 2.5e-3, 1e-2
    picture = torch.from_numpy(bundled_picture("motorcycle_left")).permute(2, 0, 1).float()[None] / 255
    views = [picture[..., 4 * i : 4 * i + 400, 6 * i : 6 * i + 600] for i in range(5)]
    clean = mosaic(unprocess(torch.cat(views), protocol_camera()))
    frames = unpack(add_noise(clean, shot, read, torch.Generator().manual_seed(1)), "RGGB")

    def error(mosaics: torch.Tensor) -> float:
        noise = tsa.burst_from_arrays(mosaics, CAMERA).noise
        return max(abs((noise.shot * x + noise.read**2) / (shot * x + read**2) - 1) for x in (0.02, 0.1, 0.4))

    assert error(frames) < 0.1
    assert error(frames) < min(error(frames[i : i + 1]) for i in range(5))


@pytest.mark.parametrize(
    ("arguments", "window"),
    [
        ({"reference": "middle"}, [1, 2, 3, 4, 5]),
        ({"frames": 3, "reference": 3}, [2, 3, 4]),
        ({"frames": 3, "reference": 6}, [5, 6, 4]),
        ({"reference": 0}, [4, 3, 0, 1, 2]),
    ],
)
def test_window_of_a_folder(tmp_path: Path, arguments: dict[str, Any], window: list[int]) -> None:
    paths = write_folder(tmp_path, frames=7)
    for source in (str(tmp_path), paths):
        burst = tsa.read_burst(source, **arguments)
        assert list(burst.window) == window
        assert burst.reference == window[len(window) // 2]
        assert [burst.source.frames[index] for index in window] == [f"{index:04}" for index in window]


def test_list_of_files_keeps_its_order(tmp_path: Path) -> None:
    paths = write_folder(tmp_path)
    there, back = tsa.read_burst(paths, reference=2), tsa.read_burst(paths[::-1], reference=1)
    assert torch.equal(there.frames.reference.planes, back.frames.reference.planes)


def test_reference_of_arrays() -> None:
    mosaics = make_mosaics(5)
    burst = tsa.burst_from_arrays(mosaics, CAMERA, noise=NOISE, reference=4)
    assert burst.reference == 4
    assert sorted(burst.window) == [0, 1, 2, 3, 4]
    assert torch.equal(burst.frames.reference.planes[0, 0, 0], mosaics[4, 0, 0])


def make_pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 17, 24, 3), dtype=np.uint8)


def test_simulation_is_the_test_protocol_and_keeps_the_truth() -> None:
    pictures = make_pictures()
    burst = tsa.simulate(pictures, "low")
    even = torch.from_numpy(pictures[:, :16]).permute(0, 3, 1, 2)
    expected = read_window(ClipInMemory("clip", even, PROTOCOL_NOISE["low"]), range(3))
    assert torch.equal(burst.frames.stack()[0], expected.stack()[0])
    assert np.array_equal(burst.truth, pictures[1, :16])


def test_simulation_of_files_with_a_seed_and_a_level(tmp_path: Path) -> None:
    pictures = make_pictures()
    for number, picture in enumerate(pictures):
        write_picture(tmp_path / f"{number}.png", picture)
    first, again = (tsa.simulate(list(pictures), NOISE, seed=1).frames.stack()[0] for _ in range(2))
    read = tsa.simulate([read_picture(tmp_path / "0.png"), tmp_path / "1.png", str(tmp_path / "2.png")], NOISE, seed=1)
    assert torch.equal(first, again)
    assert torch.equal(first, read.frames.stack()[0])


def test_frames_of_all_seeds_have_noise_of_their_own() -> None:
    still = make_pictures()[[0, 0, 0]]
    noisy = [frame for seed in range(3) for frame in tsa.simulate(still, NOISE, seed).frames.stack()[0]]
    assert not any(torch.equal(one, other) for one, other in combinations(noisy, 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mosaics": np.zeros((4, 4))}, "mosaics: found shape (4, 4), expected (N, height, width)"),
        ({"mosaics": np.zeros((0, 4, 4))}, "mosaics: found shape (0, 4, 4), expected"),
        ({"mosaics": "folder"}, "mosaics: found str, expected an array"),
        ({"mosaics": [np.zeros((4, 4)), np.zeros((4, 6))]}, "mosaics: found list, expected an array, or a list of"),
        ({"mosaics": np.full((1, 4, 4), 1.5)}, "mosaics: found floats from 1.5 to 1.5, expected 0 to 1"),
        ({"mosaics": np.full((1, 4, 4), np.nan)}, "mosaics: found floats from nan to nan, expected 0 to 1"),
        ({"mosaics": np.zeros((1, 4, 4), bool)}, "mosaics: found bool, expected integers or floats"),
        ({"mosaics": np.full((1, 4, 4), -1), "white_level": 9}, "mosaics: found integers from -1 to -1, expected 0 to"),
        ({"mosaics": np.zeros((1, 4, 4), int)}, "white_level: missing"),
        ({"white_level": 1023}, "black_level, white_level: given for floats"),
        ({"mosaics": np.ones((1, 4, 4), int), "white_level": 64, "black_level": 64}, "white_level: found 64, expected"),
        ({"mosaics": np.ones((1, 4, 4), int), "white_level": 64, "black_level": -1}, "black_level: found -1, expected"),
        ({"mosaics": np.ones((1, 4, 4), int), "white_level": 64, "black_level": [1, 2]}, "black_level, white_level: "),
        ({"camera": {"red": 2}}, "camera: found dict, expected a CameraProfile"),
        ({"cfa": "RGBG"}, "cfa: found 'RGBG', expected one of RGGB, BGGR, GRBG, GBRG"),
        ({"noise": 0.1}, "noise: found float, expected a NoiseLevel"),
        ({"noise": tsa.NoiseLevel("x", 2, 0)}, "noise: found shot 2 and read 0, expected 0 to 1"),
        ({"noise": None}, "noise: cannot be estimated, "),
        ({"reference": 1}, "reference: found 1, expected an integer from 0 to 0"),
    ],
)
def test_wrong_arrays(changes: dict[str, object], message: str) -> None:
    arguments = {"mosaics": np.full((1, 4, 4), 0.5), "camera": CAMERA, "noise": NOISE} | changes
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        tsa.burst_from_arrays(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pictures": np.zeros((1, 16, 16))}, "pictures: found float64 of shape (1, 16, 16), expected uint8"),
        ({"pictures": np.zeros((1, 11, 16, 3), np.uint8)}, "pictures: found 16x10 pixels, expected at least 12"),
        ({"pictures": "clip"}, "pictures: found str, expected"),
        ({"noise": "hihg"}, "noise: found 'hihg', expected high, low or a NoiseLevel"),
        ({"noise": 3}, "noise: found int, expected a NoiseLevel"),
        ({"seed": -1}, "seed: found -1, expected an integer from 0"),
        ({"seed": 0.5}, "seed: found 0.5, expected an integer"),
        ({"reference": True}, "reference: found True, expected an integer"),
    ],
)
def test_wrong_simulations(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        tsa.simulate(**({"pictures": make_pictures()} | arguments))


def test_wrong_sources(tmp_path: Path) -> None:
    write_folder(tmp_path / "raw")
    with pytest.raises(ValueError, match=r"^source: found int, expected a folder"):
        tsa.read_burst(3)
    with pytest.raises(ValueError, match=r"^source: found list, expected a folder"):
        tsa.read_burst([])
    with pytest.raises(ValueError, match=r"^frames: found 9, expected an integer from 1 to 4"):
        tsa.read_burst(tmp_path / "raw", frames=9)
    with pytest.raises(ValueError, match="reference: found 'best', expected middle, sharpest or the index of a frame"):
        tsa.read_burst(tmp_path / "raw", reference="best")
    with pytest.raises(tsa.UserError, match="none: no such folder"):
        tsa.read_burst(tmp_path / "none")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "camera: "),
        ({"xyz2cam": np.eye(3), "rgb2cam": np.eye(3)}, "camera: rgb2cam, xyz2cam: both are given"),
        ({"rgb2cam": 2 * np.eye(3)}, "camera: rgb2cam: found rows that sum to 2, 2, 2, expected 1 each"),
        ({"xyz2cam": np.ones((3, 3))}, "camera: xyz2cam: found a singular matrix"),
        ({"xyz2cam": np.eye(2)}, "camera: xyz2cam"),
        ({"xyz2cam": "matrix"}, "camera: "),
        ({"xyz2cam": np.eye(3), "red_gain": 0}, "camera: red_gain: found 0, expected "),
        ({"xyz2cam": np.eye(3), "rgb_gain": float("nan")}, "camera: rgb_gain"),
    ],
)
def test_wrong_cameras(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}") as caught:
        tsa.CameraProfile(**({"red_gain": 2.0, "blue_gain": 1.7} | arguments))
    assert "\n" not in str(caught.value)
