"""What the samples of a burst tell that its files do not say."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.data.camera.raw_folder import open_raw_folder
from twostagealign.isp import process
from twostagealign.runtime.errors import UserError

SHOT, READ = 2e-3, 3e-3
BLACK, WHITE = 60, 1023
NEUTRAL = np.array((0.5, 1, 0.6))


def scene(height: int, width: int, shift: int) -> np.ndarray:
    """Grey, in [0, 1]: a ramp, waves, and a lamp that is too bright."""
    y, x = np.mgrid[:height, :width] + np.array([shift, 2 * shift])[:, None, None]
    grey = 0.1 + 0.4 * x / width * (0.6 + 0.4 * np.sin(y / 9) ** 2)
    grey[(y - height // 2) ** 2 + (x - width // 2) ** 2 < (height // 5) ** 2] = 4
    return grey


@pytest.fixture
def write_burst(tmp_path: Path, write_dng) -> Callable[..., Path]:
    """Writes a burst of a sensor that saturates at `top`, with samples at `stuck` places of it."""

    def run(frames: int = 5, top: float = WHITE, stuck: dict | None = None, size=(96, 128), noise=True, **tags) -> Path:
        rng = np.random.default_rng(0)
        for number in range(frames):
            gains = np.tile(NEUTRAL[[[0, 1], [1, 2]]], (size[0] // 2, size[1] // 2))
            signal = scene(*size, 3 * number) * gains
            signal = signal + rng.normal(size=size) * np.sqrt(SHOT * signal + READ**2)
            stored = (BLACK + signal * (top - BLACK)).clip(0, top).round().astype(np.uint16)
            for place, value in (stuck or {}).items():
                stored[place] = value
            leave_out = [] if noise else [51041]
            name = tmp_path / f"{number}.dng"
            write_dng(name, stored, neutral=NEUTRAL, black=(BLACK,) * 4, leave_out=leave_out, **tags)
        return tmp_path

    return run


def test_a_sensor_that_saturates_below_the_stated_level(write_burst, caplog) -> None:
    folder = open_raw_folder(write_burst(top=860))
    known = folder.metadata(2)
    assert known.levels.white == 860
    assert known.sources["white_level"] == "samples"
    assert any("saturate at 860" in warning for warning in known.warnings)
    # The file's noise is on the scale of the level that it says.
    scale = (WHITE - BLACK) / (860 - BLACK)
    assert (known.noise.shot, known.noise.read) == pytest.approx((SHOT * scale, READ * scale))
    height, width = folder.size
    clipped = folder.read(2).raw()[:, height // 2 - 3, width // 2 - 6]
    assert torch.equal(clipped, torch.ones(4))
    srgb = process(clipped[[0, 1, 3]].reshape(1, 3, 1, 1), known.camera)
    assert torch.equal(srgb, torch.ones_like(srgb))


def test_a_level_that_the_samples_reach_stays(write_burst) -> None:
    known = open_raw_folder(write_burst()).metadata(0)
    assert (known.levels.white, known.sources["white_level"], known.warnings) == (WHITE, "WhiteLevel", ())


def test_camera_file_knows_the_level_better(write_burst) -> None:
    folder = write_burst(top=860)
    (folder / "camera.yml").write_text("white_level: 1000\n")
    assert open_raw_folder(folder).metadata(0).levels.white == 1000


def test_hot_and_dead_samples_are_replaced(write_burst) -> None:
    rng = np.random.default_rng(1)
    rows, columns = 4 * rng.permutation(20)[:12] + 8, 4 * rng.permutation(28)[:12] + 8
    places = list(zip(rows.tolist(), columns.tolist(), strict=True))
    clean = open_raw_folder(write_burst())
    expected = [clean.read(index).planes.numpy() for index in range(5)]
    folder = open_raw_folder(write_burst(stuck={place: 1000 if n % 3 else 0 for n, place in enumerate(places)}))
    assert len(clean.defects) == 0
    assert len(folder.defects) >= 10  # at the edge of the lamp, a hot sample is like the others
    for index in range(5):
        difference = folder.read(index).planes.numpy().astype(int) - expected[index]
        assert (np.abs(difference) > 150).sum() <= 1  # more than texture and noise


def test_noise_is_estimated_from_all_frames(write_burst) -> None:
    folder = open_raw_folder(write_burst(noise=False, size=(480, 640)))
    for index in range(5):
        known = folder.metadata(index)
        assert known.sources["noise"] == "samples"
        assert known.noise.shot == pytest.approx(SHOT, rel=0.15)
        assert known.noise.shot * 0.3 + known.noise.read**2 == pytest.approx(SHOT * 0.3 + READ**2, rel=0.1)


def test_frames_that_were_examined_are_not_read_again(write_burst) -> None:
    folder = open_raw_folder(write_burst(stuck={(20, 32): 1000}))
    planes = folder.read(1).planes
    for path in folder.paths:
        path.unlink()
    kept = folder.unload_others([1, 2])
    assert torch.equal(kept.read(1).planes, planes)
    with pytest.raises(UserError, match=r"0\.dng"):
        kept.read(0)
