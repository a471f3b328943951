from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

HEIGHT, WIDTH = 48, 64


def frame(clip: str, number: int, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """A frame whose pixels say where they are: red the row, green the column, blue the clip and the frame."""
    rows, columns = np.mgrid[:height, :width]
    blue = np.full_like(rows, 16 * (int(clip) % 16) + number % 16)
    return np.stack([rows, columns, blue], axis=2).astype(np.uint8)


def write_clips(folder: Path, clips: Mapping[str, range], height: int = HEIGHT, width: int = WIDTH) -> Path:
    for clip, numbers in clips.items():
        (folder / clip).mkdir(parents=True)
        for number in numbers:
            picture = cv2.cvtColor(frame(clip, number, height, width), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(folder / clip / f"{number:08d}.png"), picture)
    return folder


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips 000 (one of REDS4), 001 and 002 of twelve frames and 003, which begins at frame 3."""
    ranges = {"000": range(12), "001": range(12), "002": range(12), "003": range(3, 15)}
    return write_clips(tmp_path_factory.mktemp("clips"), ranges)


@pytest.fixture(scope="session")
def make_clips():
    """The function that makes such clips."""
    return write_clips


@pytest.fixture(scope="session")
def make_frame():
    """The function that makes one frame."""
    return frame
