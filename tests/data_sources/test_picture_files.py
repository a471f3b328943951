"""Picture files for people, as other programs read them."""

import io
import os
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from twostagealign.data import NoiseLevel, read_picture
from twostagealign.data.exif import exif_of
from twostagealign.data.metadata import FrameMetadata
from twostagealign.data.picture_files import DEEP, SUFFIXES, srgb_profile, write_picture_file
from twostagealign.data.pictures import read_pixels
from twostagealign.isp import protocol_camera
from twostagealign.runtime.errors import UserError

EXIF_DIRECTORY, GPS_DIRECTORY = 0x8769, 0x8825
METADATA = FrameMetadata(
    protocol_camera(),
    NoiseLevel("camera", 1e-3, 2e-3),
    turned=6,
    exif={0x010F: "Maker", 0x0110: "Model 1", 0x829A: (Fraction(1, 125),), 0x8827: (400,), 0xA434: "Lens 50mm"},
    gps={0: b"\2\3\0\0", 1: "N", 2: (Fraction(48), Fraction(8), Fraction(1))},
)


@pytest.fixture
def pictures() -> dict[str, np.ndarray]:
    """Random pictures of the depth of each format."""
    rng = np.random.default_rng(0)
    return {
        name: rng.integers(0, 65536 if name in DEEP else 256, (20, 30, 3), np.uint16 if name in DEEP else np.uint8)
        for name in SUFFIXES
    }


@pytest.fixture(params=SUFFIXES)
def written(request, pictures, tmp_path) -> tuple[str, Path, np.ndarray]:
    """A file of each format with EXIF: the format, the file, the picture."""
    path = tmp_path / f"picture{SUFFIXES[request.param]}"
    write_picture_file(path, pictures[request.param], request.param, exif_of(METADATA))
    return request.param, path, pictures[request.param]


def test_samples(written) -> None:
    name, path, picture = written
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]
    assert stored.dtype == picture.dtype
    if name == "jpeg":
        smooth = np.linspace(0, 255, 20 * 30 * 3).reshape(20, 30, 3).astype(np.uint8)
        write_picture_file(path, smooth, "jpeg")
        assert np.abs(read_picture(path).astype(int) - smooth).max() <= 4
    else:
        np.testing.assert_array_equal(stored, picture)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [(1, 1), (63, 2), (64, 5), (150, 7)])
def test_png_files_of_any_height(tmp_path, dtype, size) -> None:
    """They are written in bands."""
    picture = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (*size, 3), dtype, endpoint=True)
    write_picture_file(tmp_path / "a.png", picture[::-1], "png16" if dtype is np.uint16 else "png")
    stored = read_pixels(tmp_path / "a.png")  # checks the sums of all chunks
    assert stored.dtype == dtype
    np.testing.assert_array_equal(stored, picture[::-1])


def test_the_profile_is_srgb_and_always_the_same(written) -> None:
    _, path, _ = written
    with Image.open(path) as file:
        content = file.info["icc_profile"]
    assert content == srgb_profile()
    profile = ImageCms.ImageCmsProfile(io.BytesIO(content))
    colours = Image.fromarray(np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8))
    converted = ImageCms.profileToProfile(colours, profile, ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(converted).astype(int) - np.asarray(colours)).max() <= 1


def test_exif_is_kept_and_the_picture_is_upright(written) -> None:
    _, path, _ = written
    with Image.open(path) as file:
        exif = file.getexif()
        photo, gps = exif.get_ifd(EXIF_DIRECTORY), exif.get_ifd(GPS_DIRECTORY)
    assert (exif[0x010F], exif[0x0110], exif[0x0112]) == ("Maker", "Model 1", 1)
    assert exif[0x0131].startswith("TwoStageAlign ")
    assert (photo[0x829A], photo[0x8827], photo[0xA434]) == (Fraction(1, 125), 400, "Lens 50mm")
    assert photo[0xA001] == 1  # sRGB
    assert not gps


@pytest.mark.parametrize("name", SUFFIXES)
def test_the_position_is_written_only_on_request(name, pictures, tmp_path) -> None:
    path = tmp_path / f"picture{SUFFIXES[name]}"
    write_picture_file(path, pictures[name], name, exif_of(METADATA, keep_position=True))
    with Image.open(path) as file:
        gps = file.getexif().get_ifd(GPS_DIRECTORY)
    assert (gps[1], tuple(gps[2])) == ("N", (48, 8, 1))


def test_equal_pictures_give_equal_files(pictures, tmp_path) -> None:
    for name in SUFFIXES:
        for path in (tmp_path / "a", tmp_path / "b"):
            write_picture_file(path, pictures[name], name, exif_of(METADATA))
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_that_cannot_be_written_leaves_nothing(pictures, tmp_path) -> None:
    for name in SUFFIXES:
        with pytest.raises(UserError, match="cannot be written"):
            write_picture_file(tmp_path / "none" / "picture", pictures[name], name)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
def test_exiftool_finds_nothing_wrong(written) -> None:
    _, path, _ = written
    command = ["exiftool", "-validate", "-warning", "-error", "-a", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["OK"]


def test_tiff_opens_as_one_picture(pictures, tmp_path) -> None:
    write_picture_file(tmp_path / "a.tif", pictures["tiff"], "tiff", exif_of(METADATA, keep_position=True))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert len(file.pages) == 1
        np.testing.assert_array_equal(file.asarray(), pictures["tiff"])
