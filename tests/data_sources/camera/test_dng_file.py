"""DNG files as LibRaw, tifffile and exiftool read them."""

import os
import shutil
import subprocess
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
import torch

from twostagealign.data import NoiseLevel
from twostagealign.data.camera.dng_file import write_dng
from twostagealign.data.metadata import Exposure, FrameMetadata
from twostagealign.isp import Camera, protocol_camera, random_camera
from twostagealign.runtime.errors import UserError

NOISE = NoiseLevel("camera", 1e-3, 2e-3)
EXIF = {
    0x010F: "Maker",
    0x0110: "Model 1",
    0x013B: "Jürgen",
    0x829A: (Fraction(1, 125),),
    0x829D: (Fraction(28, 10),),
    0x8827: (400,),
    0x9003: "2026:03:01 12:30:00",
    0x9204: (Fraction(-1, 3),),
    0x920A: (Fraction(50),),
    0x9291: "25",
    0xA434: "Lens 50mm",
}
GPS = {0: b"\2\3\0\0", 1: "N", 2: (Fraction(48), Fraction(8), Fraction(1)), 3: "E", 4: (Fraction(11),) * 3}


@pytest.fixture
def linear() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 65536, (41, 63, 3), np.uint16)


@pytest.fixture
def write(tmp_path, linear):
    """Writes `linear` with what is known about a frame; returns the file."""

    def run(metadata: FrameMetadata | None = None, **arguments) -> Path:
        path = tmp_path / "picture.dng"
        write_dng(path, linear, metadata or described(), (linear >> 8).astype(np.uint8), **arguments)
        return path

    return run


def described(camera: Camera | None = None, **arguments) -> FrameMetadata:
    return FrameMetadata(
        camera or protocol_camera(), NOISE, make="Maker", model="Model 1", exif=EXIF, gps=GPS, **arguments
    )


def tags(path: Path) -> dict[str, object]:
    with tifffile.TiffFile(path) as file:
        return {tag.name: tag.value for tag in file.pages.first.tags}


@pytest.mark.parametrize(
    "camera", [protocol_camera(), random_camera(1, torch.Generator().manual_seed(0))], ids=["protocol", "random"]
)
def test_libraw_reads_samples_and_colours(write, linear, camera: Camera) -> None:
    with rawpy.imread(str(write(described(camera)))) as raw:
        stored = raw.raw_image_visible[..., :3]
        np.testing.assert_array_equal(stored, linear)
        assert (raw.white_level, max(raw.black_level_per_channel)) == (65535, 0)
        red, green, blue, _ = raw.camera_whitebalance
        rgb2cam = np.linalg.inv(raw.color_matrix[:, :3])
    assert (red / green, blue / green) == pytest.approx((camera.red_gain.item(), camera.blue_gain.item()), rel=1e-5)
    assert rgb2cam == pytest.approx(camera.rgb2cam[0].numpy(), abs=1e-5)


def test_libraw_reads_a_mosaic(write, linear) -> None:
    with rawpy.imread(str(write(layout="cfa"))) as raw:
        colours = np.array(["RGBG".index(letter) for letter in "RGBG"])[raw.raw_colors_visible] % 3
        colours[raw.raw_colors_visible == 3] = 1
        expected = np.take_along_axis(linear, colours[..., None], axis=2)[..., 0]
        np.testing.assert_array_equal(raw.raw_image_visible, expected)
        assert raw.raw_pattern.tolist() == [[0, 1], [3, 2]]


def test_camera_exposure_and_date_are_kept(write) -> None:
    path = write()
    with rawpy.imread(str(path)) as raw:
        assert raw.other.iso_speed == 400
        assert raw.other.shutter_speed == pytest.approx(1 / 125)
        assert raw.other.aperture == pytest.approx(2.8)
        assert raw.other.focal_length == 50
        assert raw.other.timestamp == datetime(2026, 3, 1, 12, 30)
        assert raw.lens.model == "Lens 50mm"
    found = tags(path)
    assert (found["Make"], found["Model"], found["Orientation"]) == ("Maker", "Model 1", 1)
    assert found["ExifTag"]["ExposureBiasValue"] == (-1, 3)
    assert found["UniqueCameraModel"] == "Maker Model 1"


def test_the_position_is_written_only_on_request(write) -> None:
    assert "GPSTag" not in tags(write())
    assert tags(write(keep_position=True))["GPSTag"]["GPSLatitude"] == (48, 1, 8, 1, 1, 1)


def test_tags_that_converters_need(write) -> None:
    camera = protocol_camera()
    camera = Camera(camera.rgb2cam, camera.red_gain / 4, camera.blue_gain, camera.rgb_gain * 2)
    found = tags(write(described(camera, exposure=Exposure(baseline=0.5)), noise=NoiseLevel("result", 0.0, 2e-3)))
    assert tuple(found["DNGVersion"]) == (1, 4, 0, 0)
    assert np.divide(*found["BaselineExposure"]) == 1.5  # one stop of the camera, half a stop of the file
    neutral, matrix = (np.divide(*np.reshape(found[name], (-1, 2)).T) for name in ("AsShotNeutral", "ColorMatrix1"))
    assert neutral == pytest.approx([1, 0.5, 0.5 / 1.7], abs=1e-6)  # red gain 0.5, blue 1.7
    # A converter derives the colour of the light from both. It is that of the matrix, D65.
    response = matrix.reshape(3, 3) @ [0.95047, 1, 1.08883]
    assert response / response.max() == pytest.approx(neutral, abs=1e-4)
    shot, read = found["NoiseProfile"]
    assert 0 < shot < 1e-6  # converters refuse 0
    assert read == pytest.approx(4e-6)
    assert "ImageDescription" not in found


def test_colours_of_the_reference_frame_are_kept(write) -> None:
    given = {50708: "Model", 50721: (0.5,) * 9, 50722: tuple(range(9)), 50727: (1.0, 1.0, 1.5)}
    found = tags(write(described(colour_tags=given | {50778: (17,), 50779: (21,), 1: (5,)})))
    assert found["UniqueCameraModel"] == "Model"
    assert found["ColorMatrix1"] == (1, 2) * 9
    assert found["ColorMatrix2"][::2] == tuple(range(9))
    assert (found["CalibrationIlluminant1"], found["CalibrationIlluminant2"]) == (17, 21)
    assert found["AnalogBalance"] == (1, 1, 1, 1, 3, 2)
    assert "ForwardMatrix1" not in found


def test_preview_is_small_and_history_says_how_the_picture_was_made(write) -> None:
    path = write(settings="5 frames, <tiles> of 32 & \x07more")
    with tifffile.TiffFile(path) as file:
        assert file.pages.first.asarray().shape == (41, 63, 3)
        assert file.pages.first.photometric.name == "RGB"
    found = tags(path)
    assert found["Software"].startswith("TwoStageAlign ")
    assert b"5 frames, &lt;tiles&gt; of 32 &amp; more" in found["XMP"]
    wide = np.zeros((10, 3000, 3), np.uint16)
    write_dng(path, wide, described(), wide.astype(np.uint8))
    with tifffile.TiffFile(path) as file:
        assert max(file.pages.first.shape) <= 1024


def test_values_that_no_file_can_hold_are_left_out(write) -> None:
    """A damaged raw file may claim anything."""
    odd = {0x829A: (float("nan"),), 0x829D: (Fraction(-1),), 0x8827: (2**40,), 0x9204: (1e30,), 0xA434: ""}
    path = write(FrameMetadata(protocol_camera(), NOISE, exif=odd, colour_tags={50721: (0.5,) * 9, 50964: (1.0,)}))
    assert set(tags(path)["ExifTag"]) == {"ExifVersion", "FlashpixVersion"}
    assert "ForwardMatrix1" not in tags(path)
    with rawpy.imread(str(path)) as raw:
        assert raw.raw_image_visible.shape[:2] == (41, 63)


@pytest.mark.parametrize("value", ["nine text", b"nine byte", (2**40,) * 9, (float("nan"),) * 9, (-1.5,) * 9, ()])
def test_tags_of_other_types_are_left_out(write, value) -> None:
    numbers = (0x010F, 0x829A, 0x9204, 0xA434)
    colours = (50708, 50721, 50727, 50778, 50964)
    metadata = FrameMetadata(
        protocol_camera(),
        NOISE,
        exif=dict.fromkeys(numbers, value),
        gps=dict.fromkeys((0, 1, 2), value),
        colour_tags=dict.fromkeys(colours, value),
    )
    with rawpy.imread(str(write(metadata, keep_position=True))) as raw:
        assert raw.raw_image_visible.shape[:2] == (41, 63)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path, linear) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        write_dng(tmp_path / "none" / "picture.dng", linear, described(), (linear >> 8).astype(np.uint8))
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
@pytest.mark.parametrize("layout", ["linear", "cfa"])
def test_exiftool_finds_no_error(write, layout) -> None:
    path = write(layout=layout, noise=NOISE, settings="5 frames", keep_position=True)
    command = ["exiftool", "-validate", "-warning", "-error", "-a", str(path)]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert not [line for line in lines if line.startswith("Error")]
    # exiftool takes the usual type of the tag SubIFDs for that of a tag of another maker with the same number.
    complaints = [line for line in lines if line.startswith("Warning") and "A100DataOffset" not in line]
    assert [line for line in complaints if "GPSProcessingMethod" not in line] == []
