"""Headers of files that cameras wrote: public samples, whose pixels have been cut off."""

from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.data.camera.raw_file import RawFile, open_raw_file
from twostagealign.data.camera.raw_folder import open_raw_files
from twostagealign.data.metadata import Crop
from twostagealign.isp import rgb2cam_from_xyz2cam
from twostagealign.runtime.errors import UserError

FOLDER = Path(__file__).parents[2] / "data/camera"


def opened(name: str, **camera_file: object) -> RawFile:
    return open_raw_file(FOLDER / name, FOLDER / "camera.yml", camera_file)


def test_a_camera_without_a_color_matrix_in_libraw() -> None:
    known = opened("panasonic_lx3_cut.rw2").metadata
    xyz2cam = [[0.8128, -0.2668, -0.0655], [-0.6134, 1.3307, 0.3161], [-0.1782, 0.2568, 0.6083]]
    torch.testing.assert_close(known.camera.rgb2cam, rgb2cam_from_xyz2cam(torch.tensor([xyz2cam])))
    assert known.sources["rgb2cam"] == "rgb_xyz_matrix of LibRaw"
    assert (known.camera.red_gain.item(), known.camera.blue_gain.item()) == pytest.approx((570 / 263, 438 / 263))
    assert (known.crop, known.cfa) == (Crop(6, 8, 2736, 3648), "BGGR")
    assert (known.exposure.seconds, known.exposure.iso, known.exposure.f_number) == (1 / 250, 80, 4)
    assert (known.make, known.model, str(known.captured)) == ("Panasonic", "DMC-LX3", "2008-08-06 15:21:56")


def test_a_default_crop_and_matrices_for_two_lights() -> None:
    known = opened("blackmagic_cinema_cut.dng").metadata
    assert (known.crop, known.cfa) == (Crop(8, 16, 2160, 4096), "RGGB")
    assert (known.levels.black, known.levels.white) == ((512,) * 4, 65535)
    xyz2cam = [[0.6879, -0.2475, -0.0487], [-0.3926, 1.2011, 0.1579], [-0.0892, 0.2006, 0.5815]]  # of ColorMatrix2, D65
    expected = rgb2cam_from_xyz2cam(torch.tensor([xyz2cam]))
    torch.testing.assert_close(known.camera.rgb2cam, expected, rtol=0, atol=2e-4)
    assert known.exposure.baseline == pytest.approx(2.654, abs=1e-3)


def test_a_crop_with_an_odd_origin_changes_the_order_of_the_colours() -> None:
    known = opened("canon_350d_cut.dng", black_level=256).metadata  # its masked areas have been cut off
    assert (known.crop, known.cfa) == (Crop(5, 10, 2304, 3456), "GBRG")  # LibRaw says 2303 rows
    assert (known.exposure.iso, known.exposure.f_number, known.exposure.baseline) == (400, 8, 0.25)
    calibration = np.diag((1.0069, 1, 1.0027))
    matrix = [[0.6018, -0.0617, -0.0965], [-0.8645, 1.5881, 0.2975], [-0.153, 0.1719, 0.7642]]
    expected = rgb2cam_from_xyz2cam(torch.tensor(calibration @ matrix)[None].float())
    torch.testing.assert_close(known.camera.rgb2cam, expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", ["panasonic_lx3_cut.rw2", "blackmagic_cinema_cut.dng"])
def test_a_file_that_has_been_cut_short_is_refused(name) -> None:
    with pytest.raises(UserError, match=f"{name}: not a raw file, or corrupt [(]cut short by [0-9]+ bytes[)]$"):
        open_raw_files([FOLDER / name])
