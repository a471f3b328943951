"""Photon transfer, on frames whose noise is known."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from twostagealign.data.camera.calibration import calibrate
from twostagealign.data.camera.raw_folder import open_raw_folder
from twostagealign.runtime.errors import UserError

SHOT, READ = 3e-3, 4e-3
BLACK, WHITE = np.array((60, 61, 62, 63)), 1000
EXPOSURES = (0.05, 0.2, 0.5, 0.9)


@pytest.fixture
def write_frames(tmp_path: Path, write_dng):
    def run(folder: str, exposures, model: str = "Model", iso: int = 400) -> Path:
        rng = np.random.default_rng(len(folder))
        (tmp_path / folder).mkdir()
        y, x = np.mgrid[:160, :240]
        vignette = 1 - 0.3 * np.hypot(y / 80 - 1, x / 120 - 1) ** 2 / 2
        black = np.tile(BLACK.reshape(2, 2), (80, 120))
        for number, exposure in enumerate(exposures):
            signal = exposure * vignette
            signal = signal + rng.normal(size=signal.shape) * np.sqrt(SHOT * signal + READ**2)
            stored = (black + signal * (WHITE - 63)).round().clip(0, WHITE).astype(np.uint16)
            extra = [(272, "s", 0, model), (34855, "H", 1, iso)]
            write_dng(tmp_path / folder / f"{number}.dng", stored, white=WHITE, black=tuple(BLACK), extra=extra)
        return tmp_path / folder

    return run


def test_noise_and_levels_are_found(write_frames) -> None:
    flats = write_frames("flats", [level * step for level in EXPOSURES for step in (1, 1.01)])
    found = calibrate(flats, write_frames("dark", [0] * 4))
    assert (found.noise.shot, found.noise.read) == pytest.approx((SHOT, READ), rel=0.03)
    np.testing.assert_allclose(found.black, BLACK, atol=0.1)
    assert (found.white, found.pairs, found.iso) == (WHITE, 4, 400)
    text = found.camera_file()
    assert text.startswith("# Model at ISO 400: photon transfer from 4 pairs of flat frames\n")
    assert yaml.safe_load(text)["noise"] == pytest.approx({"shot": SHOT, "read": READ}, rel=0.03)


def test_what_cannot_be_used_is_explained(write_frames) -> None:
    flats = write_frames("flats", [level for level in EXPOSURES for _ in range(2)])
    dark = write_frames("dark", [0, 0])
    cases = [
        (flats, write_frames("one dark", [0]), "one dark frame, expected two or more"),
        (write_frames("singles", EXPOSURES), dark, "no two consecutive frames of equal brightness"),
        (write_frames("same", [0.5, 0.5]), dark, "frames of one brightness, or clipped"),
        (write_frames("clipped", [30, 30]), dark, "frames of one brightness, or clipped"),
        (flats, write_frames("other camera", [0, 0], "Model 2"), "of another camera, size or ISO"),
        (flats, write_frames("other iso", [0, 0], iso=800), "of another camera, size or ISO"),
    ]
    for bright, without_light, message in cases:
        with pytest.raises(UserError, match=message):
            calibrate(bright, without_light)


def test_the_command_writes_a_camera_file_and_a_plot(write_frames, tmp_path) -> None:
    output = tmp_path / "of this camera"  # not there yet
    flats = write_frames("flats", [level for level in EXPOSURES for _ in range(2)])
    arguments = [
        "--flats",
        str(flats),
        "--darks",
        str(write_frames("dark", [0, 0])),
        "--output",
        str(output / "c.yml"),
    ]
    command = [sys.executable, "-m", "twostagealign", "calibrate", *arguments]
    assert subprocess.run(command, check=False).returncode == 0
    assert yaml.safe_load((output / "c.yml").read_text()).keys() == {"black_level", "white_level", "noise"}
    with Image.open(output / "c.png") as plot:
        assert plot.format == "PNG"
    (output / "c.yml").rename(flats / "camera.yml")
    assert open_raw_folder(flats).metadata(0).noise.shot == pytest.approx(SHOT, rel=0.03)
    (output / "c.yml").write_text("mine")
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (again.returncode, (output / "c.yml").read_text()) == (2, "mine")
    assert again.stderr == f"error: {output}/c.yml: exists; remove it, or choose another name\n"
