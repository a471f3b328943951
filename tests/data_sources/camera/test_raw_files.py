"""Raw files, from DNGs written tag by tag."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from twostagealign.data.camera.libraw import open_raw
from twostagealign.data.camera.orientation import upright
from twostagealign.data.camera.raw_folder import open_raw_folder
from twostagealign.data.pictures import write_picture
from twostagealign.isp import CFA_ORDERS, rgb2cam_from_xyz2cam
from twostagealign.matching import Search
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.restoration.outputs import Outputs
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError

XYZ2CAM = ((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406))


def write_mosaics(folder: Path, mosaics: np.ndarray, cfa: str, black: Sequence[float]) -> Path:
    """Write what `write_dng` writes, but for the black levels, as mosaics and a camera.yml."""
    described = {
        "cfa": cfa,
        "black_level": list(black),
        "white_level": 1023,
        "white_balance": {"red": 2.0, "blue": 1 / 0.6},
        "xyz2cam": np.array(XYZ2CAM).tolist(),
        "noise": {"shot": 2e-3, "read": 3e-3},
    }
    folder.mkdir()
    for number, mosaic in enumerate(mosaics):
        write_picture(folder / f"{number}.png", mosaic)
    (folder / "camera.yml").write_text(yaml.safe_dump(described))
    return folder


@pytest.fixture
def mosaics() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1024, (3, 39, 50)).astype(np.uint16)


@pytest.fixture
def write(tmp_path, mosaics, write_dng) -> Callable[..., Path]:
    """Writes three DNGs, and what else there is to say in a camera.yml; returns their folder."""

    def run(said: dict | None = None, **changes) -> Path:
        folder = tmp_path / "burst"
        folder.mkdir(exist_ok=True)
        for number, mosaic in enumerate(mosaics):
            write_dng(folder / f"{number}.dng", mosaic, **changes)
        if said:
            (folder / "camera.yml").write_text(yaml.safe_dump(said))
        return folder

    return run


def read_raw(path: Path) -> np.ndarray:
    with open_raw(path) as raw:
        return raw.raw_image_visible.copy()


def refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        open_raw_folder(folder)
    text = str(error.value)
    assert "\n" not in text
    return text.removeprefix(f"{folder}/")


@pytest.mark.parametrize("nested", [False, True], ids=["plain", "nested"])
@pytest.mark.parametrize("cfa", CFA_ORDERS)
def test_is_read_like_the_mosaics_with_a_camera_file(write, mosaics, tmp_path, cfa, nested) -> None:
    raw = open_raw_folder(write(cfa=cfa, nested=nested))
    colour = {"R": 0, "B": 3}
    green = iter((1, 2) if cfa.index("R") < 2 else (2, 1))  # in red rows, in blue rows
    black = [0.0] * 4
    for level, letter in zip((60, 61, 62, 63), cfa, strict=True):
        black[next(green) if letter == "G" else colour[letter]] = level
    expected = open_raw_folder(write_mosaics(tmp_path / "mosaics", mosaics, cfa, black))
    assert raw.size == expected.size
    found, wanted = raw.metadata(2), expected.metadata(2)
    for name in ("crop", "cfa", "levels", "turned"):
        assert getattr(found, name) == getattr(wanted, name), name
    assert (found.noise.shot, found.noise.read) == pytest.approx((wanted.noise.shot, wanted.noise.read))
    for name in ("rgb2cam", "red_gain", "blue_gain", "rgb_gain"):
        torch.testing.assert_close(getattr(found.camera, name), getattr(wanted.camera, name), rtol=2e-4, atol=2e-5)
    assert [path.name for path in raw.paths] == ["0.dng", "1.dng", "2.dng"]
    for index in range(3):
        assert torch.equal(raw.read(index).planes, expected.read(index).planes)


def test_noise_of_all_colours_is_averaged(write) -> None:
    noise = open_raw_folder(write(noise=(1e-3, 1e-6, 2e-3, 2e-6, 6e-3, 9e-6))).metadata(0).noise
    assert (noise.shot, noise.read) == pytest.approx((3e-3, 4e-6**0.5))
    assert open_raw_folder(write(noise=(1e-3, -1e-6))).metadata(0).noise.read == 0  # a fit may end below zero


def test_camera_file_knows_better(write) -> None:
    said = {"noise": {"shot": 5e-3, "read": 1e-2}, "xyz2cam": np.eye(3).tolist(), "rgb_gain": 1.5}
    known = open_raw_folder(write(said)).metadata(1)
    assert (known.noise.shot, known.noise.read, known.camera.rgb_gain.item()) == (5e-3, 1e-2, 1.5)
    assert known.levels.white == 1023
    torch.testing.assert_close(known.camera.rgb2cam, rgb2cam_from_xyz2cam(torch.eye(3)[None]))


def test_a_camera_file_that_cannot_be_read_is_not_left_aside(write) -> None:
    folder = write()
    (folder / "camera.yml").symlink_to("nowhere.yml")
    with pytest.raises(UserError, match=r"camera\.yml: no such file, expected the description of the camera"):
        open_raw_folder(folder)


def test_pictures_beside_raw_files_are_refused(write) -> None:
    folder = write()
    write_picture(folder / "0.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="3 DNG and 1 PNG files, raw files mixed with pictures; remove one kind"):
        open_raw_folder(folder)


@pytest.mark.parametrize(
    ("tag", "message"),
    [
        (50721, "0.dng: neither rgb2cam nor xyz2cam is given; give it in {folder}/camera.yml"),
        (
            51041,
            "0.dng: found no two brightnesses with enough samples that are not clipped to estimate its noise, "
            "expected `noise` in camera.yml",
        ),
    ],
    ids=["colours", "noise"],
)
def test_what_a_file_does_not_say_must_be_said(write, tag, message) -> None:
    folder = write(leave_out=[tag])
    assert refusal(folder) == message.format(folder=folder)
    said = {
        "noise": {"shot": 1e-3, "read": 1e-3},
        "white_balance": {"red": 2.0, "blue": 1.5},
        "xyz2cam": np.array(XYZ2CAM).tolist(),
    }
    assert len(open_raw_folder(write(said, leave_out=[tag])).frames) == 3


def test_daylight_is_assumed_where_the_white_balance_is_not_said(write, caplog) -> None:
    camera = open_raw_folder(write(leave_out=[50728])).metadata(0).camera
    daylight = 1 / (np.array(XYZ2CAM) @ (0.9505, 1, 1.0891))
    gains = torch.cat([camera.red_gain, camera.blue_gain]).numpy()
    np.testing.assert_allclose(gains, daylight[[0, 2]] / daylight[1], rtol=1e-3)
    assert "0.dng: the file does not say its white balance, daylight is assumed" in caplog.text


def test_a_chain_of_directories_without_end_does_not_hang(write) -> None:
    folder = write()
    content = bytearray((folder / "0.dng").read_bytes())
    start = int.from_bytes(content[4:8], "little")
    end = start + 2 + 12 * int.from_bytes(content[start : start + 2], "little")
    content[end : end + 4] = start.to_bytes(4, "little")
    (folder / "0.dng").write_bytes(content)
    assert len(open_raw_folder(folder).frames) == 3


def test_mistakes(write, write_dng, mosaics, capfd) -> None:
    folder = write()
    write_dng(folder / "1.dng", mosaics[1, :, :-2])
    expected = "expected 50x39 samples, RGGB as in 0.dng"
    assert refusal(folder) == f"1.dng: found 48x39 samples, RGGB, {expected}"
    write_dng(folder / "1.dng", mosaics[1], cfa="BGGR")
    assert refusal(folder) == f"1.dng: found 50x39 samples, BGGR, {expected}"
    whole = (folder / "0.dng").read_bytes()
    for part in (b"", b"text\n", whole[:200], whole[:-100]):
        (folder / "1.dng").write_bytes(part)
        assert refusal(folder).startswith("1.dng: not a raw file, or corrupt (")
    assert capfd.readouterr() == ("", "")  # LibRaw says nothing by itself
    (folder / "1.dng").unlink()
    (folder / "2.dng").unlink()
    write_dng(folder / "0.dng", mosaics[0], noise=(1e-3, 1e-6, 1e-3))
    assert refusal(folder).startswith("0.dng: damaged DNG (")
    write_dng(folder / "0.dng", mosaics[0], cfa="RGBG")
    assert "expected a Bayer mosaic" in refusal(folder)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), nested=st.booleans())
def test_damage_is_explained_if_it_is_seen(tmp_path, write_dng, mosaics, data, nested) -> None:
    path = tmp_path / "0.dng"
    write_dng(path, mosaics[0], nested=nested)
    content = bytearray(path.read_bytes())
    start = data.draw(st.sampled_from([0, len(content) - 800]))  # where the tags are
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 799), st.integers(0, 255)), max_size=4)):
        content[start + place] = value
    path.write_bytes(content)
    with suppress(UserError):
        open_raw_folder(tmp_path).read(0)


def test_pipes_are_refused_and_do_not_block(tmp_path) -> None:
    os.mkfifo(tmp_path / "0.dng")
    with pytest.raises(UserError, match=r"0\.dng: is a pipe"):
        read_raw(tmp_path / "0.dng")


def test_a_burst_is_restored_as_its_mosaics_are_and_turned(write, mosaics, tmp_path, tiny_checkpoint) -> None:
    settings = {"tiling": Tiling(patch=16, halo=4), "search": Search(16)}
    for name, folder in (
        ("turned", write(orientation=6)),
        ("stored", write_mosaics(tmp_path / "mosaics", mosaics, "RGGB", (60, 61, 62, 63))),
    ):
        restore_folder(
            folder,
            tmp_path / name,
            Request(tiny_checkpoint, reference=1, outputs=Outputs(linear=True), device="cpu", **settings),
        )
        assert sorted(os.listdir(tmp_path / name)) == ["1.png", "1_linear.png", "metrics.json"]
    for name in ("1.png", "1_linear.png"):
        turned, stored = (cv2.imread(str(tmp_path / kind / name), -1).astype(int) for kind in ("turned", "stored"))
        assert turned.shape == (50, 39, 3)
        assert np.abs(turned - np.rot90(stored, -1)).max() <= stored.max() // 255  # their matrices are rounded
        assert turned.std() > stored.max() / 100


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_exif_says(tmp_path, write_dng, mosaics, orientation) -> None:
    write_dng(tmp_path / "0.dng", mosaics[0], orientation=orientation)
    turned = open_raw_folder(tmp_path).metadata(0).turned
    picture = np.random.default_rng(1).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    image = Image.fromarray(picture)
    image.getexif()[274] = orientation
    assert np.array_equal(upright(picture, turned), np.asarray(ImageOps.exif_transpose(image)))


def test_errors_of_files_read_at_the_same_time_leave_stderr_as_it_was(write, capfd) -> None:
    """LibRaw prints past `sys.stderr`, so that is turned off for a while: not for good, whoever ends last."""
    folder = write()
    whole = (folder / "0.dng").read_bytes()
    for number in range(3):
        (folder / f"{number}.dng").write_bytes(whole[: len(whole) * 2 // 3])

    def read(number: int) -> bool:
        with pytest.raises(UserError):
            read_raw(folder / f"{number % 3}.dng")
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"
