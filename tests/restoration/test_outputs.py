"""Files of restored raw bursts, from the command line's options to what other programs read."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import rawpy
import tifffile
import torch
from PIL import Image

from twostagealign.cli.restore import main
from twostagealign.data import NoiseLevel, open_raw_folder, read_burst, write_raw_folder
from twostagealign.data.metadata import Exposure, FrameMetadata
from twostagealign.isp import protocol_camera, render
from twostagealign.restoration.outputs import Outputs, Rendering, remaining_noise, to_levels
from twostagealign.runtime.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A raw burst of two frames, 24 x 36 samples, darker than most; the right side is clipped."""
    mosaics = 0.06 * torch.rand(2, 24, 36, generator=torch.Generator().manual_seed(0))
    mosaics[..., 30:] = 1
    write_raw_folder(tmp_path / "raw", mosaics, protocol_camera(), 1e-3, 1e-2)
    return tmp_path / "raw"


@pytest.fixture
def restore(folder, tmp_path, monkeypatch):
    """Runs the command with options and the shipped checkpoint; returns the folder of results."""

    def run(*options: str) -> Path:
        usual = ["--input", str(folder), "--output", str(tmp_path / "out")]
        monkeypatch.setattr(
            "sys.argv", ["restore.py", *usual, "--reference", "1", "--patch", "16", "--device", "cpu", *options]
        )
        main()
        return tmp_path / "out"

    return run


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"metrics.json"}


@pytest.mark.parametrize(
    ("name", "suffix", "dtype"),
    [("png", "png", np.uint8), ("png16", "png", np.uint16), ("tiff", "tif", np.uint16), ("jpeg", "jpg", np.uint8)],
)
def test_formats(restore, name, suffix, dtype) -> None:
    out = restore("--format", name)
    assert names(out) == {f"0001.{suffix}"}
    picture = read(out / f"0001.{suffix}")
    assert (picture.shape, picture.dtype) == ((24, 36, 3), dtype)
    with Image.open(out / f"0001.{suffix}") as file:
        assert file.info["icc_profile"]
        assert file.getexif()[0x0112] == 1


def test_brightness_and_tone(restore) -> None:
    means = {}
    for options in ([], ["--brightness", "1.5"], ["--brightness", "auto"], ["--tone", "none"], ["--tone", "paper"]):
        means[" ".join(options)] = read(restore(*options) / "0001.png")[:, :12].mean()
    usual = means[""]
    assert means["--brightness 1.5"] > 1.2 * usual
    assert means["--brightness auto"] > 1.05 * usual
    assert means["--tone paper"] < usual < means["--tone none"]


@pytest.mark.parametrize("layout", ["linear", "cfa"])
def test_dng_holds_the_linear_picture(restore, layout) -> None:
    out = restore("--linear", "--dng", layout)
    assert names(out) == {"0001.png", "0001_linear.png", "0001.dng"}
    linear = read(out / "0001_linear.png")
    with rawpy.imread(str(out / "0001.dng")) as raw:
        stored = raw.raw_image_visible
        if layout == "linear":
            np.testing.assert_array_equal(stored[..., :3], linear)
        else:
            for y, x, colour in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
                np.testing.assert_array_equal(stored[y::2, x::2], linear[y::2, x::2, colour])


def test_clipped_areas_are_neutral(restore) -> None:
    """In the picture, and in what a raw converter makes of the DNG."""
    out = restore("--dng", "--brightness", "-1", "--tone", "none")
    lamp = np.s_[:, 33:]
    picture = read(out / "0001.png")[lamp].astype(int)
    assert np.ptp(picture, axis=2).max() <= 1
    assert picture.min() > 180
    with rawpy.imread(str(out / "0001.dng")) as raw:
        converted = raw.postprocess(use_camera_wb=True, no_auto_bright=True)[lamp]
    assert converted.min() >= 254


def test_dng_without_a_layout_is_linear(restore) -> None:
    with tifffile.TiffFile(restore("--dng") / "0001.dng") as file:
        (raw,) = file.pages.first.pages
        assert raw.shape == (24, 36, 3)
        assert b"checkpoint" in file.pages.first.tags["XMP"].value


@pytest.mark.parametrize(("option", "message"), [("x", "found 'x', expected a number"), ("11", "at most 10")])
def test_wrong_brightness(restore, option, message) -> None:
    with pytest.raises(UserError, match=rf"^--brightness: .*{message}.*or auto"):
        restore("--brightness", option)


def test_a_raw_file_s_baseline_exposure_brightens_the_picture(folder) -> None:
    burst = read_burst(open_raw_folder(folder), [0, 1])
    metadata = FrameMetadata(burst.camera, NoiseLevel("camera", 0, 0), exposure=Exposure(baseline=0.7))
    assert Outputs(brightness=0.5).rendering(burst, metadata).stops == pytest.approx(1.2)


@pytest.mark.parametrize("tone", ["none", "curve", "paper"])
@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_in_bands_is_the_whole_one(tone, deep) -> None:
    linear = 1.2 * torch.rand(3, 600, 7, generator=torch.Generator().manual_seed(0)) - 0.1
    picture = Rendering(tone, 0.3, deep).pixels(linear, protocol_camera())
    whole = render(linear, protocol_camera(), 0.3, tone).mul(65535 if deep else 255).round().permute(1, 2, 0)
    assert picture.dtype == (np.uint16 if deep else np.uint8)
    assert np.array_equal(picture, whole.numpy())


def test_levels_in_bands_are_those_of_the_whole_picture() -> None:
    linear = np.random.default_rng(0).uniform(-0.1, 1.1, (600, 7, 3)).astype(np.float32)
    assert np.array_equal(to_levels(linear), (linear.clip(0, 1) * 65535).round().astype(np.uint16))


def test_remaining_noise() -> None:
    generator = np.random.default_rng(0)
    ramp = np.linspace(0.1, 0.8, 400)[None, :, None]
    picture = ramp + np.sqrt(2e-5 * ramp + 1e-6) * generator.normal(size=(300, 400, 3))
    noise = remaining_noise((picture * 65535).round().astype(np.uint16))
    assert noise is not None
    assert noise.shot * 0.5 + noise.read**2 == pytest.approx(1.1e-5, rel=0.2)
    assert remaining_noise(np.full((8, 8, 3), 65535, np.uint16)) is None
