"""What raw files say in their tags, and where it goes."""

import struct
from collections.abc import Callable, Sequence
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from twostagealign.data.camera.raw_folder import RawFolder, open_raw_folder
from twostagealign.data.metadata import Crop, Exposure, FrameMetadata
from twostagealign.data.sequence import read_burst
from twostagealign.isp import rgb2cam_from_xyz2cam
from twostagealign.runtime.errors import UserError

MATRIX = np.array(((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)))
WARM = np.array(((1.2, -0.5, -0.1), (-0.4, 1.5, 0.0), (-0.05, 0.3, 0.7)))
D65 = (0.3127, 0.3290)
BLACK, BLACK_REPEAT, WHITE, NEUTRAL = 50714, 50713, 50717, 50728


@pytest.fixture
def mosaic() -> np.ndarray:
    return np.random.default_rng(0).integers(100, 1000, (39, 50)).astype(np.uint16)


@pytest.fixture
def open_file(tmp_path: Path, write_dng, mosaic) -> Callable[..., RawFolder]:
    """Writes a DNG and opens it."""

    def run(**changes) -> RawFolder:
        write_dng(tmp_path / "0.dng", mosaic, **changes)
        return open_raw_folder(tmp_path)

    return run


def refusal(open_file, **changes) -> str:
    with pytest.raises(UserError) as error:
        open_file(**changes)
    text = str(error.value)
    assert "\n" not in text
    return text


def samples(folder: RawFolder) -> np.ndarray:
    """Samples of the first frame over black, as they were photographed."""
    frame = folder.read(0)
    black = torch.tensor(frame.levels.black)[:, None, None]
    planes = frame.planes.float() - black
    height, width = planes.shape[1:]
    mosaic = np.zeros((2 * height, 2 * width))
    mosaic[::2, ::2], mosaic[::2, 1::2], mosaic[1::2, ::2], mosaic[1::2, 1::2] = planes
    return folder.finish(mosaic, 0)


def neutral(metadata: FrameMetadata) -> np.ndarray:
    gains = np.array([metadata.camera.red_gain.item(), 1, metadata.camera.blue_gain.item()])
    return 1 / gains


@pytest.mark.parametrize(("top", "left", "cfa"), [(4, 8, "RGGB"), (5, 8, "GBRG"), (4, 7, "GRBG"), (3, 1, "BGGR")])
def test_the_default_crop_is_what_is_used_even_if_its_origin_is_odd(open_file, mosaic, top, left, cfa) -> None:
    folder = open_file(extra=[(50719, "I", 2, (left, top)), (50720, "I", 2, (30, 20))], black=(60,) * 4)
    assert folder.metadata(0).crop == Crop(top, left, 20, 30)
    assert folder.metadata(0).cfa == cfa
    np.testing.assert_array_equal(samples(folder), mosaic[top : top + 20, left : left + 30] - 60.0)


def test_a_crop_beyond_the_picture_is_cut(open_file) -> None:
    crop = [(50719, "I", 2, (10, 20)), (50720, "I", 2, (100, 100))]
    assert open_file(extra=crop).metadata(0).crop == Crop(20, 10, 19, 40)
    crop = [(50719, "I", 2, (50, 0)), (50720, "I", 2, (100, 100))]
    assert "found 0x39 samples, expected at least 2x2" in refusal(open_file, extra=crop)


def test_white_balance_from_the_chromaticity_of_the_light(open_file) -> None:
    x, y = D65
    white = [(50729, "2I", 2, (3127, 10000, 3290, 10000))]
    known = open_file(leave_out=[NEUTRAL], extra=white).metadata(0)
    expected = MATRIX @ (x / y, 1, (1 - x - y) / y)
    np.testing.assert_allclose(neutral(known), expected / expected[1], rtol=1e-3)
    assert known.sources["white_balance"] == "AsShotWhiteXY"
    for damage in ((0, 1, 1, 2), (1, 1, 1, 1)):
        changes = {"leave_out": [NEUTRAL], "extra": [(50729, "2I", 2, damage)]}
        assert "AsShotWhiteXY: found" in refusal(open_file, **changes)


def test_white_balance_between_two_lights(open_file, fractions) -> None:
    """The chromaticity of a light of about 4000 K, between the matrices for 2850 K and 6500 K."""
    white = [(50729, "2I", 2, (3805, 10000, 3768, 10000))]
    second = [(50722, "2i", 9, fractions(WARM.ravel())), (50779, "H", 1, 17)]  # standard light A
    known = open_file(leave_out=[NEUTRAL], extra=[*white, *second]).metadata(0)
    xyz = np.array((0.3805, 0.3768, 1 - 0.3805 - 0.3768)) / 0.3768
    cool, warm = (matrix @ xyz for matrix in (MATRIX, WARM))
    weight = (1 / 4000 - 1 / 6500) / (1 / 2850 - 1 / 6500)
    expected = weight * warm + (1 - weight) * cool
    np.testing.assert_allclose(neutral(known), expected / expected[1], rtol=5e-3)
    # Colours are those of the light nearest to D65, as LibRaw's.
    torch.testing.assert_close(
        known.camera.rgb2cam, rgb2cam_from_xyz2cam(torch.tensor(MATRIX)[None].float()), rtol=0, atol=1e-4
    )


def test_calibration_of_the_single_camera(open_file, fractions) -> None:
    calibration, balance = np.diag((1.1, 1.0, 0.9)), np.diag((1.0, 1.0, 1.25))
    calibration[0, 1] = 0.1
    extra = [(50723, "2i", 9, fractions(calibration.ravel())), (50727, "2I", 3, fractions(np.diag(balance)))]
    expected = rgb2cam_from_xyz2cam(torch.tensor(balance @ calibration @ MATRIX)[None].float())
    torch.testing.assert_close(open_file(extra=extra).metadata(0).camera.rgb2cam, expected, rtol=0, atol=1e-4)
    foreign = [(50931, "s", 0, "one"), (50932, "s", 0, "another")]  # the matrix was made for another calibration
    expected = rgb2cam_from_xyz2cam(torch.tensor(balance @ MATRIX)[None].float())
    found = open_file(extra=[*extra, *foreign]).metadata(0).camera.rgb2cam
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


def test_black_levels_of_a_larger_pattern_and_of_rows_and_columns(open_file, mosaic, fractions) -> None:
    pattern = np.arange(60, 72).reshape(3, 4)
    rows, columns = np.linspace(-3, 3, 39).round(), np.linspace(0, 6, 50).round()
    crop = [(50719, "I", 2, (3, 2)), (50720, "I", 2, (40, 30))]
    levels = [
        (BLACK_REPEAT, "H", 2, (3, 4)),
        (BLACK, "I", 12, tuple(pattern.ravel().tolist())),
        (50715, "2i", 50, fractions(columns)),
        (50716, "2i", 39, fractions(rows)),
    ]
    folder = open_file(leave_out=[BLACK, BLACK_REPEAT], extra=[*levels, *crop])
    black = np.tile(pattern, (13, 13))[:, :50] + rows[:, None] + columns
    np.testing.assert_array_equal(samples(folder), (mosaic - black)[2:32, 3:43])


def test_black_level_of_masked_samples(open_file, mosaic) -> None:
    """The file gives no black level, but says which samples see no light: the first ten columns."""
    mosaic[:, :10] = 130
    areas = [(50829, "I", 4, (0, 10, 39, 50)), (50830, "I", 4, (0, 0, 39, 10))]
    folder = open_file(leave_out=[BLACK, BLACK_REPEAT], extra=areas)
    assert folder.metadata(0).levels.black == (130,) * 4
    np.testing.assert_array_equal(samples(folder), mosaic[:, 10:] - 130.0)


def test_damaged_levels(open_file, fractions) -> None:
    assert "BlackLevel: found 4 numbers for a pattern of 3x3" in refusal(
        open_file, leave_out=[BLACK_REPEAT], extra=[(BLACK_REPEAT, "H", 2, (3, 3))]
    )
    assert "BlackLevelDeltaH: found 3 numbers, expected 50" in refusal(
        open_file, extra=[(50715, "2i", 3, fractions([1, 2, 3]))]
    )
    assert "DefaultCropSize: found 3 numbers, expected 2" in refusal(open_file, extra=[(50720, "I", 3, (30, 20, 10))])


def gain_maps(points: np.ndarray, corners: Sequence[tuple[int, int]] = ((0, 0), (0, 1), (1, 0), (1, 1))) -> bytes:
    """OpcodeList2 of one gain map for each sample of a cell; the points go from corner to corner of the picture."""
    rows, columns = points.shape
    parts = []
    for number, (top, left) in enumerate(corners):
        head = struct.pack(">10I", top, left, 39, 50, 0, 1, 2, 2, rows, columns)
        place = struct.pack(">4d", 1 / (rows - 1), 1 / (columns - 1), 0, 0)
        data = head + place + struct.pack(">I", 1) + (points + number).astype(">f4").tobytes()
        parts.append(struct.pack(">4I", 9, 0x01030000, 0, len(data)) + data)
    return struct.pack(">I", len(parts)) + b"".join(parts)


def opcodes(data: bytes) -> list[tuple]:
    return [(51009, "B", len(data), data)]


def test_lens_shading_is_undone_after_restoration(open_file) -> None:
    points = np.array([[2.0, 1.0, 3.0], [2.0, 1.0, 3.0]])
    folder = open_file(extra=opcodes(gain_maps(points)), cfa="GRBG")
    gains = read_burst(folder, [0]).shading.gains(range(40), range(52))
    seen = folder.finish(gains.permute(1, 2, 0).numpy(), 0)
    assert seen.shape == (39, 50, 3)
    across = np.interp(np.arange(50), (0, 25, 50), points[0])
    # Red is the second sample of a cell of GRBG, blue the third, green the mean of first and last.
    for colour, number in enumerate((1, 1.5, 2)):
        np.testing.assert_allclose(seen[..., colour], np.tile(across + number, (39, 1)), rtol=1e-5)


def test_damaged_gain_maps(open_file) -> None:
    data = gain_maps(np.ones((2, 2)))
    assert "OpcodeList2: " in refusal(open_file, extra=opcodes(data[:-3]))
    endless = data[:52] + struct.pack(">2I", 2**31, 2**31) + data[60:]
    assert "larger than the tag that contains it" in refusal(open_file, extra=opcodes(endless))
    assert "gains of a gain map that are not positive" in refusal(open_file, extra=opcodes(gain_maps(-np.ones((2, 2)))))
    assert "for some colours only" in refusal(open_file, extra=opcodes(gain_maps(np.ones((2, 2)), [(0, 0)])))


def test_how_a_picture_was_taken(open_file) -> None:
    said = [
        (271, "s", 0, "Maker"),
        (272, "s", 0, "Model 1"),
        (33434, "2I", 1, (1, 60)),
        (33437, "2I", 1, (28, 10)),
        (34855, "H", 1, 800),
        (36867, "s", 0, "2024:05:06 07:08:09"),
        (37521, "s", 0, "250"),
        (42036, "s", 0, "A lens 50"),
        (50730, "2i", 1, (3, 2)),
    ]
    known = open_file(extra=said).metadata(0)
    assert (known.make, known.model, known.lens) == ("Maker", "Model 1", "A lens 50")
    assert known.exposure == Exposure(pytest.approx(1 / 60), 800, 2.8, 1.5)
    assert known.captured == datetime(2024, 5, 6, 7, 8, 9, 250_000)
    assert known.exif[33434] == (Fraction(1, 60),)
    assert known.exif[36867] == "2024:05:06 07:08:09"
    unknown = [(33434, "2I", 1, (0, 1)), (33437, "2I", 1, (0, 0)), (36867, "s", 0, "0000:00:00 00:00:00")]
    known = open_file(extra=unknown).metadata(0)
    assert known.exposure == Exposure()
    assert known.captured is None
    assert not {33434, 33437, 36867} & known.exif.keys()


def test_a_demosaicked_file_is_refused(tmp_path) -> None:
    tags = [(50706, "B", 4, bytes((1, 4, 0, 0)), True)]
    tifffile.imwrite(
        tmp_path / "0.dng", np.zeros((8, 8, 3), np.uint16), photometric=34892, metadata=None, extratags=tags
    )
    with pytest.raises(UserError, match="linear DNG, already demosaicked; give the raw files that it was made from"):
        open_raw_folder(tmp_path)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((4, 4), "a Quad Bayer sensor at full resolution; colour filters repeat every 4x4 samples"),
        ((6, 6), "an X-Trans sensor; colour filters repeat every 6x6 samples"),
    ],
)
def test_other_sensors_are_refused(open_file, size, message) -> None:
    height, width = size
    pattern = [(33421, "H", 2, size), (33422, "B", height * width, bytes([0, 1, 1, 2] * (height * width // 4)))]
    assert f"{message}, expected a Bayer mosaic (2x2)" in refusal(open_file, leave_out=[33421, 33422], extra=pattern)


def test_a_frame_of_another_camera_is_refused(tmp_path, write_dng, mosaic) -> None:
    for number, model in enumerate(("Model 1", "Model 2")):
        write_dng(tmp_path / f"{number}.dng", mosaic, extra=[(272, "s", 0, model)])
    with pytest.raises(
        UserError, match=r"1\.dng: found 50x39 samples, RGGB, of Model 2, expected .* of Model 1 as in 0"
    ):
        open_raw_folder(tmp_path)


def test_every_frame_has_its_own_metadata(tmp_path, write_dng, mosaic) -> None:
    neutrals, orientations, whites = ((0.4, 1, 0.6), (0.5, 1, 0.7), (0.6, 1, 0.8)), (1, 6, 8), (1000, 1010, 1023)
    for number in range(3):
        write_dng(
            tmp_path / f"{number}.dng",
            mosaic,
            neutral=neutrals[number],
            orientation=orientations[number],
            white=whites[number],
            black=(60 + number,) * 4,
            noise=(1e-3 * (number + 1), 1e-6),
        )
    folder = open_raw_folder(tmp_path)
    for number in range(3):
        known = folder.metadata(number)
        np.testing.assert_allclose(neutral(known), neutrals[number], rtol=1e-5)
        assert (known.levels.white, known.levels.black) == (whites[number], (60 + number,) * 4)
        assert known.noise.shot == pytest.approx(1e-3 * (number + 1))
        assert folder.read(number).levels == known.levels
        assert read_burst(folder, [0, 1, 2, number, 0, 1, 2]).camera is known.camera
    assert folder.finish(np.zeros((40, 50, 3)), 0).shape == (39, 50, 3)
    assert folder.finish(np.zeros((40, 50, 3)), 1).shape == (50, 39, 3)
