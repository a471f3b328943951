from pathlib import Path

import numpy as np
import pytest
import tifffile

from twostagealign.data import open_raw_folder
from twostagealign.data.camera.reference import choose_reference
from twostagealign.runtime.errors import UserError

NAME = "0006_20160722_115157_431"
EXPOSURE_TIME = (33434, "2I", 1, (1, 30))


@pytest.fixture
def burst(tmp_path, write_dng) -> Path:
    """Four frames with what is beside them in the data set."""
    folder = tmp_path / "bursts" / NAME
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(4):
        mosaic = rng.integers(100, 800, (40, 64)).astype(np.uint16)
        write_dng(folder / f"payload_N{number:03d}.dng", mosaic, extra=[EXPOSURE_TIME])
        ramp = 1 + np.arange(5.0)[:, None] + 0.1 * np.arange(7)
        gains = np.stack([ramp, 2 * ramp, 4 * ramp, 5 * ramp], axis=-1).astype(np.float32)
        tifffile.imwrite(folder / f"lens_shading_map_N{number:03d}.tiff", gains, photometric="minisblack")
    (folder / "rgb2rgb.txt").write_text("1 0 0 0 1 0 0 0 1")
    (folder / "timing.txt").write_text("0")
    return folder


def test_frames_are_the_payload(burst, caplog) -> None:
    folder = open_raw_folder(burst)
    assert list(folder.frames) == [f"payload_N{number:03d}" for number in range(4)]
    assert folder.reference is None
    assert not caplog.messages


@pytest.mark.parametrize("place", [f"bursts/{NAME}", f"results_20171023/{NAME}"])
def test_the_data_set_says_the_reference_frame(burst, tmp_path, place) -> None:
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "reference_frame.txt").write_text("3\n")
    folder = open_raw_folder(burst)
    assert choose_reference(folder)[1] == 3
    assert choose_reference(folder, "middle")[1] == 2


def test_shading_goes_from_corner_to_corner(burst) -> None:
    shading = open_raw_folder(burst).sources[0].shading
    assert shading is not None
    gains = shading.gains(range(40), range(64))
    assert gains[:, 0, 0].tolist() == pytest.approx([1, 3, 5])  # green: the mean of 2 and 4
    assert gains[:, -1, -1].tolist() == pytest.approx([5.6, 3 * 5.6, 5 * 5.6])
    assert gains[0, 39, 0].item() == pytest.approx(5)


def test_damaged_companions_are_named(burst) -> None:
    (burst / "reference_frame.txt").write_text("four")
    with pytest.raises(UserError, match=r"reference_frame\.txt: found 'four', expected the number of a frame, 0 to 3"):
        open_raw_folder(burst)
    (burst / "reference_frame.txt").write_text("2")
    shading = burst / "lens_shading_map_N001.tiff"
    tifffile.imwrite(shading, np.zeros((5, 7, 4), np.float32), photometric="minisblack")
    with pytest.raises(UserError, match=r"N001\.tiff: found gains from 0 to 0, expected them positive"):
        open_raw_folder(burst)
    tifffile.imwrite(shading, np.ones((5, 7), np.float32))
    with pytest.raises(UserError, match=r"N001\.tiff: found an array of \(5, 7\), expected rows and"):
        open_raw_folder(burst)
    shading.write_bytes(b"II*\0")
    with pytest.raises(UserError, match=r"N001\.tiff: damaged TIFF"):
        open_raw_folder(burst)
