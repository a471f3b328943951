import datetime

import cv2
import numpy as np
import pytest
import tifffile
import torch
import yaml

from twostagealign.data.camera.raw_folder import open_raw_folder, write_raw_folder
from twostagealign.data.metadata import Crop
from twostagealign.data.pictures import write_picture
from twostagealign.isp import CFA_ORDERS, pack, protocol_camera, random_camera, unpack
from twostagealign.runtime.errors import UserError

RGB2CAM = [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.0, 0.3, 0.7]]
DESCRIBED = {
    "cfa": "RGGB",
    "black_level": 64,
    "white_level": 1023,
    "white_balance": {"red": 2.0, "blue": 1.7},
    "rgb2cam": RGB2CAM,
    "noise": {"shot": 2.5e-3, "read": 1e-2},
}


@pytest.fixture
def folder(tmp_path):
    """Two 10-bit mosaics in 16-bit files."""
    stored = np.random.default_rng(0).integers(0, 1024, (2, 6, 8)).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "b.png"), stored[1])
    tifffile.imwrite(tmp_path / "a.tiff", stored[0])
    describe(tmp_path)
    return tmp_path


def describe(folder, drop=(), **changes):
    described = {key: value for key, value in {**DESCRIBED, **changes}.items() if key not in drop}
    (folder / "camera.yml").write_text(yaml.safe_dump(described))


def refusal(folder):
    with pytest.raises(UserError) as error:
        open_raw_folder(folder)
    text = str(error.value)
    assert "\n" not in text
    assert str(folder) in text
    return text


def decoded(raw):
    """All mosaics in [0, 1], without the rows and columns that make whole cells of them."""
    mosaics = unpack(torch.stack([raw.read(index).raw() for index in raw.references]), "RGGB")
    return torch.stack([torch.from_numpy(raw.finish(mosaic.numpy(), 0)) for mosaic in mosaics])


def stored(folder):
    return torch.from_numpy(
        np.stack([tifffile.imread(folder / "a.tiff"), cv2.imread(str(folder / "b.png"), -1)]).astype(np.float32)
    )


def test_reads_mosaics_and_metadata(folder):
    raw = open_raw_folder(folder)
    known = raw.metadata(1)
    assert (len(raw.frames), known.crop, known.cfa) == (2, Crop(0, 0, 6, 8), "RGGB")
    assert [path.name for path in raw.paths] == ["a.tiff", "b.png"]
    expected = ((stored(folder) - 64) / (1023 - 64)).clamp(0, 1)
    assert [raw.read(i).planes.dtype for i in (0, 1)] == [torch.uint16] * 2
    torch.testing.assert_close(decoded(raw), expected)
    assert (expected == 0).any()  # the clamp was needed
    assert len(known.camera) == 1
    torch.testing.assert_close(known.camera.rgb2cam[0], torch.tensor(RGB2CAM))
    assert [g.item() for g in (known.camera.red_gain, known.camera.blue_gain, known.camera.rgb_gain)] == pytest.approx(
        [2.0, 1.7, 1.0]
    )
    assert (known.noise.shot, known.noise.read) == (2.5e-3, 1e-2)


@pytest.mark.parametrize("cfa", CFA_ORDERS)
def test_black_levels_belong_to_colours_wherever_the_filter_has_them(folder, cfa):
    black = [10.0, 20.0, 30.0, 40.0]  # R, G in red rows, G in blue rows, B
    describe(folder, cfa=cfa, black_level=black)
    planes = pack(decoded(open_raw_folder(folder)), cfa)
    level = torch.tensor(black)[:, None, None]
    expected = ((pack(stored(folder), cfa) - level) / (1023 - level)).clamp(0, 1)
    torch.testing.assert_close(planes, expected)


def test_odd_sides_are_extended_to_whole_cells(folder):
    (folder / "a.tiff").unlink()
    values = np.random.default_rng(1).integers(100, 1000, (5, 7)).astype(np.uint16)
    cv2.imwrite(str(folder / "b.png"), values)
    describe(folder, cfa="GRBG", black_level=[10, 20, 30, 40])
    raw = open_raw_folder(folder)
    assert raw.metadata(0).crop == Crop(0, 0, 5, 7)
    mirrored = np.pad(values, [(0, 1), (1, 0)], mode="reflect").astype(np.float32)  # green before red at the left
    planes = np.stack([mirrored[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    black = np.array([10, 20, 30, 40])[:, None, None]
    np.testing.assert_allclose(raw.read(0).raw(), (planes - black) / (1023 - black), rtol=1e-6)


def test_8_bit_mosaics(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (4, 4), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    describe(tmp_path, black_level=0, white_level=255)
    raw = open_raw_folder(tmp_path)
    assert raw.read(0).planes.dtype == torch.uint8
    torch.testing.assert_close(decoded(raw)[0], torch.from_numpy(values) / 255)
    describe(tmp_path)
    assert "found uint8 samples, expected 16-bit ones as camera.yml says white_level 1023" in refusal(tmp_path)


def test_xyz2cam_gives_the_matrix_of_the_protocol(folder):
    xyz2cam = [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]]
    describe(folder, drop=["rgb2cam"], xyz2cam=xyz2cam)
    camera = open_raw_folder(folder).metadata(0).camera
    torch.testing.assert_close(camera.rgb2cam, protocol_camera().rgb2cam)


@pytest.mark.parametrize("cfa", ["RGGB", "GBRG"])
def test_write_then_read(tmp_path, cfa):
    generator = torch.Generator().manual_seed(0)
    camera = random_camera(1, generator)
    planes = torch.rand(3, 4, 4, 6, generator=generator)
    write_raw_folder(tmp_path / "new" / "raw", unpack(planes, cfa), camera, 6.4e-3, 2e-2, cfa, (60, 61, 62, 63), 16383)
    raw = open_raw_folder(tmp_path / "new" / "raw")
    known = raw.metadata(2)
    torch.testing.assert_close(pack(decoded(raw), cfa), planes, atol=0.51 / 16320, rtol=0)
    for name in ("rgb2cam", "red_gain", "blue_gain", "rgb_gain"):
        torch.testing.assert_close(getattr(known.camera, name), getattr(camera, name))
    assert (known.cfa, known.noise.shot, known.noise.read) == (cfa, 6.4e-3, 2e-2)
    names = sorted(path.name for path in (tmp_path / "new" / "raw").iterdir())
    assert names == ["0000.png", "0001.png", "0002.png", "camera.yml"]


def test_write_errors(folder):
    mosaics = torch.zeros(1, 4, 4)
    with pytest.raises(UserError, match="found pictures in it, expected an empty folder"):
        write_raw_folder(folder, mosaics, protocol_camera(), 0, 0)
    with pytest.raises(UserError, match="expected a folder that can be written to"):
        write_raw_folder(folder / "camera.yml", mosaics, protocol_camera(), 0, 0)
    with pytest.raises(ValueError, match="a batch of 2, expected one"):
        write_raw_folder(folder / "new", mosaics, protocol_camera(2), 0, 0)


def test_broken_folders_are_named(folder):
    assert "no such folder" in refusal(folder / "none")
    (folder / "none").mkdir()
    assert "no picture in this folder" in refusal(folder / "none")
    (folder / "camera.yml").unlink()
    assert refusal(folder) == (
        f"{folder}: pictures without camera.yml; describe the camera of Bayer mosaics there, "
        "or degrade ordinary pictures with --simulate"
    )


def test_broken_mosaics_are_named(folder):
    write_picture(folder / "a.png", np.zeros((6, 8, 3), np.uint8))
    assert "a.png: found 3 channels, expected a Bayer mosaic of one channel" in refusal(folder)
    (folder / "a.png").unlink()
    cv2.imwrite(str(folder / "c.png"), np.zeros((6, 10), np.uint16))
    assert "c.png: found 10x6 pixels, expected 8x6 as in a.tiff" in refusal(folder)
    (folder / "c.png").unlink()
    whole = (folder / "a.tiff").read_bytes()
    (folder / "a.tiff").write_bytes(whole[:-20])
    assert "a.tiff: truncated" in refusal(folder)
    (folder / "a.tiff").unlink()
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    assert "b.png: truncated" in refusal(folder)
    cv2.imwrite(str(folder / "b.png"), np.zeros((1, 8), np.uint16))
    assert "b.png: found 8x1 samples, expected at least 2x2" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cfa": "RGBG"}, "cfa: found 'RGBG', expected 'RGGB', 'BGGR'"),
        ({"black_level": [1, 2, 3]}, "black_level.3: missing"),
        ({"black_level": -1}, "black_level.0: found -1, expected at least 0"),
        ({"black_level": "dark"}, "black_level.0: found 'dark', expected a number"),
        ({"white_level": 64}, "white_level: found 64, expected more than the black level 64"),
        ({"white_level": float("inf")}, "white_level: found inf, expected a finite number"),
        ({"white_balance": {"red": 2.0}}, "white_balance.blue: missing"),
        (
            {"white_balance": {"red": 2.0, "blue": 0}},
            "white_balance.blue: found 0, expected at least 0.001",
        ),
        ({"whitelevel": 1023}, "whitelevel: unknown key, expected one of cfa, black_level"),
        ({"whitelevel": 1023}, "did you mean 'white_level'?"),
        ({"noise": {"shot": 1e-3, "raed": 1e-2}}, "noise.raed: unknown key, expected one of shot, read"),
        ({"noise": {"shot": 1e-3, "raed": 1e-2}}, "did you mean 'read'?"),
        ({"xyz2cam": RGB2CAM}, "rgb2cam, xyz2cam: both are given; remove one"),
        ({"rgb2cam": None}, "neither rgb2cam nor xyz2cam is given"),
        ({"rgb2cam": [[1, 1, 0], [0, 1, 0], [0, 0, 1]]}, "rgb2cam: found rows that sum to 2, 1, 1, expected 1 each"),
        ({"rgb2cam": [[1, 0, 0], [1, 0, 0], [0, 0, 1]]}, "rgb2cam: found a singular matrix"),
        ({"rgb2cam": None, "xyz2cam": [[0, 0, 0]] * 3}, "xyz2cam: found a singular matrix"),
        ({"rgb2cam": [[1, 0], [0, 1]]}, "rgb2cam.0.2: missing"),
        ({"noise": {"shot": 1e30, "read": 1e30}}, "noise.shot: found 1e+30, expected at most 1"),
        ({"white_level": 1e300}, "white_level: found 1e+300, expected at most"),
        ({"rgb_gain": 1e9}, "rgb_gain: found 1000000000.0, expected at most"),
        ({"rgb2cam": [[1e9, -1e9, 1], [0, 1, 0], [0, 0, 1]]}, "rgb2cam.0.0: found 1000000000.0, expected at most"),
        ({"rgb_gain": True}, "rgb_gain: found True, expected a number"),
        ({"white_level": "1023"}, "white_level: found '1023', expected a number"),
        ({"white_level": datetime.date(2026, 1, 13)}, "white_level: found '2026-01-13', expected a number"),
    ],
)
def test_broken_camera_files_are_explained(folder, changes, message):
    describe(folder, **changes)
    text = refusal(folder)
    assert "camera.yml: " in text
    assert message in text


@pytest.mark.parametrize("brightest", [0.8, 0.02], ids=["bright", "all of it around black"])
def test_noise_that_nobody_knows_is_estimated(tmp_path, caplog, brightest):
    black = torch.tensor([1000.0, 1001, 1002, 1003])[:, None, None]
    clean = torch.linspace(0, brightest, 300).expand(4, 200, 300)
    normal = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    planes = black + 16000 * (clean + normal * (2e-3 * clean + 1e-4).sqrt())
    tifffile.imwrite(tmp_path / "a.tiff", unpack(planes, "RGGB").clamp(min=0).numpy().astype(np.uint16))
    describe(tmp_path, drop=["noise"], black_level=black.flatten().tolist(), white_level=17001)
    noise = open_raw_folder(tmp_path).metadata(0).noise
    middle = brightest / 2
    assert noise.shot * middle + noise.read**2 == pytest.approx(2e-3 * middle + 1e-4, rel=0.1)
    assert brightest < 0.1 or (noise.shot, noise.read) == pytest.approx((2e-3, 1e-2), rel=0.1)
    assert f"{tmp_path}/a.tiff: estimated noise: {{shot: {noise.shot:.3g}, read: {noise.read:.3g}}}" in caplog.text


def test_frames_that_do_not_show_their_noise(folder):
    describe(folder, drop=["noise"])
    assert "a.tiff: found no two brightnesses" in (text := refusal(folder))
    assert text.endswith("to estimate its noise, expected `noise` in camera.yml")


@pytest.mark.parametrize("key", [key for key in DESCRIBED if key not in ("rgb2cam", "noise")])
def test_missing_keys_are_named(folder, key):
    describe(folder, drop=[key])
    assert f"camera.yml: {key}" in refusal(folder)


def test_a_misspelt_key_is_named_before_the_missing_one(folder):
    describe(folder, drop=["cfa"], cfo="RGGB")
    assert "cfo: unknown key" in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "cfa: [RGGB",
        "- a list",
        "",
        "just words",
        "cfa: \x00",
        "\tcfa: RGGB",
        "white_level: 2026-13-45",
        "white_level: 0x_",
        f"white_level: {'9' * 5000}",
        "white_level: !!bool maybe",
        "cfa: " + "[" * 5000,
        "cfa: RGGB\ncfa: BGGR",
        "? !!binary AQ==\n: 1",
    ],
)
def test_files_that_are_no_mapping(folder, text):
    (folder / "camera.yml").write_text(text)
    assert "camera.yml: " in refusal(folder)
    (folder / "camera.yml").write_bytes(b"\xff\xfe\xfa")
    assert "not UTF-8" in refusal(folder)
