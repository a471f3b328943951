"""Drawn pictures: the same every time, full of structure at all scales, and a source of training bursts."""

from pathlib import Path

import numpy as np
import pytest

from twostagealign.data import StillsInMotion, check_no_overlap
from twostagealign.data.stills.procedural import procedural_picture
from twostagealign.runtime.errors import UserError


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    return [procedural_picture(seed) for seed in range(3)]


def test_a_seed_gives_its_picture(pictures: list[np.ndarray]) -> None:
    assert np.array_equal(procedural_picture(1), pictures[1])
    assert not np.array_equal(pictures[0], pictures[1])
    assert all(picture.shape == (512, 512, 3) and picture.dtype == np.uint8 for picture in pictures)


def test_pictures_have_even_areas_edges_and_colours(pictures: list[np.ndarray]) -> None:
    for picture in pictures:
        steps = np.abs(np.diff(picture.astype(int), axis=1)).max(axis=-1)
        assert (steps <= 3).mean() > 0.2
        assert (steps > 24).mean() > 0.01
    together = np.stack(pictures).astype(int)
    assert 60 < together.mean() < 190
    assert (np.ptp(together, axis=-1) > 20).mean() > 0.1


def test_the_spectrum_falls_as_that_of_photographs_does(pictures: list[np.ndarray]) -> None:
    """Amplitudes of photographs fall about as 1 / frequency."""
    slopes = []
    for picture in pictures:
        spectrum = np.abs(np.fft.fft2(picture.mean(axis=-1)))
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(512), np.fft.fftfreq(512)))
        bands = [spectrum[(frequency > low) & (frequency <= 2 * low)].mean() for low in (0.01, 0.02, 0.04, 0.08, 0.16)]
        slopes.append(np.polyfit(np.arange(5), np.log2(bands), 1)[0])
    assert -1.8 < np.mean(slopes) < -0.7


def test_bursts_of_drawn_pictures() -> None:
    bursts = StillsInMotion("procedural", frames=3, size=64, exclude=["0000"], length=4)
    assert bursts[2].shape == (3, 3, 64, 64)
    assert "0000" not in bursts.contents[0]
    check_no_overlap(bursts, StillsInMotion("procedural", include=["0000"], frames=1, size=32))
    check_no_overlap(bursts, StillsInMotion("skimage", frames=1, size=32))
    with pytest.raises(UserError, match="0001"):
        check_no_overlap(bursts, StillsInMotion("procedural", include=["0001"], frames=1, size=32))
    with pytest.raises(UserError, match="no picture named astronaut"):
        StillsInMotion("procedural", include=["astronaut"])


def test_drawing_does_not_depend_on_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = StillsInMotion("procedural", frames=1, size=32)
    monkeypatch.chdir(tmp_path)
    assert here.origin == StillsInMotion("procedural", frames=1, size=32).origin
