"""Bursts with the faults and habits of cameras: restored as well as a burst without, but for what light is missing."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile

from twostagealign.data import read_picture
from twostagealign.data.camera.reference import Reference
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.restoration.outputs import Outputs

HEIGHT, WIDTH = 96, 144
FRAMES = 5
BLACK, WHITE = 256, 4095
SHOT, READ = 2e-3, 3e-3
XYZ2CAM = np.array(((1.0234, -0.2969, -0.2266), (-0.5625, 1.6328, -0.0469), (-0.0703, 0.2188, 0.6406)))
RGB2XYZ = np.array(
    ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.072175), (0.0193339, 0.119192, 0.9503041))
)
RGB2CAM = XYZ2CAM @ RGB2XYZ
NEUTRAL = RGB2CAM.sum(axis=1) / RGB2CAM.sum(axis=1)[1]
D65 = (0.3127, 0.329)
DISCS = (
    (30, 38, 16, (0.6, 0.1, 0.1)),
    (32, 84, 15, (0.1, 0.5, 0.15)),
    (70, 60, 15, (0.1, 0.15, 0.6)),
    (68, 112, 18, 4.0),
)
"""Row, column, radius and linear colour of discs; the last one is a lamp that clips."""

Tag = tuple[int, str, int, object]
Tags = Mapping[int, Tag | None]
"""Number of a tag -> the tag in tifffile's form, or None to leave it out."""


def view(index: int) -> np.ndarray:
    """Linear sRGB that frame `index` sees, (HEIGHT, WIDTH, 3): discs before a grey ramp with waves, which moves."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + np.array((3.0, 6.0))[:, None, None] * (index - FRAMES // 2)
    ramp = 0.05 + 0.45 * (x + 20) / WIDTH * (0.6 + 0.4 * np.sin(y / 9) ** 2)
    picture = np.repeat(ramp[..., None], 3, axis=2)
    for row, column, radius, colour in DISCS:
        picture[(y - row) ** 2 + (x - column) ** 2 < radius**2] = colour
    return picture


def truth(index: int) -> np.ndarray:
    """The picture of a frame, sRGB in [0, 1] with the paper's tone curve."""
    srgb = view(index).clip(0, 1) ** (1 / 2.2)
    return 3 * srgb**2 - 2 * srgb**3


def samples(index: int, exposure: float = 1.0, top: int = WHITE) -> np.ndarray:
    """What a sensor that saturates at `top` records of a frame, RGGB."""
    camera = exposure * view(index) @ RGB2CAM.T * (NEUTRAL / RGB2CAM.sum(axis=1))
    signal = np.empty((HEIGHT, WIDTH))
    for (y, x), colour in zip(np.ndindex(2, 2), (0, 1, 1, 2), strict=True):
        signal[y::2, x::2] = camera[y::2, x::2, colour]
    signal += np.random.default_rng(index + 100).normal(size=signal.shape) * np.sqrt(SHOT * signal.clip(0) + READ**2)
    return (BLACK + signal * (top - BLACK)).clip(0, top).round().astype(np.uint16)


def fractions(number: int, values: Sequence[float], kind: str = "2I") -> Tag:
    parts = [part for value in values for part in (round(value * 10_000), 10_000)]
    return (number, kind, len(values), parts)


def write_dng(path: Path, stored: np.ndarray, changes: Tags) -> None:
    tags: Tags = {
        33421: (33421, "H", 2, (2, 2)),
        33422: (33422, "B", 4, bytes((0, 1, 1, 2))),
        50706: (50706, "B", 4, bytes((1, 4, 0, 0))),
        50714: (50714, "I", 1, BLACK),
        50717: (50717, "I", 1, WHITE),
        50721: fractions(50721, XYZ2CAM.ravel().tolist(), "2i"),
        50728: fractions(50728, NEUTRAL.tolist()),
        50778: (50778, "H", 1, 21),  # the matrix is for D65
        51041: (51041, "d", 2, (SHOT, READ**2)),
        **changes,
    }
    with tifffile.TiffWriter(path) as file:
        extra = [(*tag, True) for _, tag in sorted(tags.items()) if tag]
        file.write(stored, photometric=32803, metadata=None, extratags=extra)


def errors(
    folder: Path,
    stored: Callable[[int], np.ndarray] = samples,
    tags: Callable[[int], Tags] = lambda index: {},
    name: Callable[[int], str] = str,
    expected: Callable[[np.ndarray], np.ndarray] = lambda picture: picture,
    frames: range = range(FRAMES),
    reference: Reference | None = None,
) -> np.ndarray:
    """Write a burst and restore it; squared errors against the true picture of its middle frame.

    Args:
        folder: folder for the burst and the picture.
        stored: samples of each frame.
        tags: tags of each frame, beside or instead of the usual ones.
        name: name of each frame.
        expected: makes what is expected of the true picture.
        frames: indices of the frames.
        reference: how the reference frame is chosen, which must be the middle one.
    """
    burst, output = folder / "burst", folder / "restored"
    burst.mkdir()
    for index in frames:
        write_dng(burst / f"{name(index)}.dng", stored(index), tags(index))
    outputs = Outputs(tone="paper")
    request = Request(find_checkpoint("tiny"), device="cpu", outputs=outputs, reference=reference)
    (record,) = restore_folder(burst, output, request)["frames"]
    middle = frames[len(frames) // 2]
    assert record["name"] == name(middle)
    return (read_picture(output / record["files"][0]) / 255 - expected(truth(middle))) ** 2


def psnr(squares: np.ndarray) -> float:
    return -10 * float(np.log10(squares.mean()))


@pytest.fixture(scope="module")
def control(tmp_path_factory) -> np.ndarray:
    """Squared errors of a burst whose files say everything as they should."""
    return errors(tmp_path_factory.mktemp("control"))


def test_white_balance_as_the_colour_of_a_light(control: np.ndarray, tmp_path: Path) -> None:
    assert psnr(errors(tmp_path, tags=lambda index: {50728: None, 50729: fractions(50729, D65)})) > psnr(control) - 0.3


def test_a_crop_with_unlit_samples_outside(control: np.ndarray, tmp_path: Path) -> None:
    top, left, height, width = 4, 8, 88, 128
    inside = np.s_[top : top + height, left : left + width]

    def stored(index: int) -> np.ndarray:
        frame = np.full((HEIGHT, WIDTH), BLACK, np.uint16)
        frame[inside] = samples(index)[inside]
        return frame

    crop = {50719: fractions(50719, (left, top)), 50720: fractions(50720, (width, height))}
    found = errors(tmp_path, stored, lambda index: crop, expected=lambda picture: picture[inside])
    assert psnr(found) > psnr(control[inside]) - 0.3


def test_hot_and_dead_samples(control: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows, columns = 4 * rng.permutation(22)[:16] + 4, 4 * rng.permutation(34)[:16] + 4

    def stored(index: int) -> np.ndarray:
        frame = samples(index)
        frame[rows, columns] = np.where(np.arange(16) % 4, 3000, 0)
        return frame

    assert psnr(errors(tmp_path, stored)) > psnr(control) - 0.3


def test_names_without_zeros(control: np.ndarray, tmp_path: Path) -> None:
    """In alphabetical order, frame 10 would come after frame 1."""
    frames = range(FRAMES // 2 - 5, FRAMES // 2 + 6)
    found = errors(tmp_path, name=lambda index: f"frame_{index - frames[0] + 1}", frames=frames, reference="middle")
    assert psnr(found) > psnr(control) - 0.3


def test_another_white_balance_in_the_first_frame(control: np.ndarray, tmp_path: Path) -> None:
    other = {50728: fractions(50728, (NEUTRAL * (1.3, 1, 1)).tolist())}
    assert psnr(errors(tmp_path, tags=lambda index: {} if index else other)) > psnr(control) - 0.3


def test_frames_that_were_held_differently(control: np.ndarray, tmp_path: Path) -> None:
    def orientation(index: int) -> Tags:
        return {274: (274, "H", 1, (1, 6, 6, 6, 8)[index])}

    turned = errors(tmp_path, tags=orientation, expected=lambda picture: np.rot90(picture, -1))
    assert psnr(turned) > psnr(control) - 0.3


def test_a_sensor_that_saturates_below_the_stated_level(control: np.ndarray, tmp_path: Path) -> None:
    top = 3400
    scale = (top - BLACK) / (WHITE - BLACK)
    noise = {51041: (51041, "d", 2, (SHOT * scale, (READ * scale) ** 2))}
    assert psnr(errors(tmp_path, lambda index: samples(index, top=top), lambda index: noise)) > psnr(control) - 0.3


def test_a_bracketed_burst(control: np.ndarray, tmp_path: Path) -> None:
    def exposure(index: int) -> float:
        return 1.0 if index == FRAMES // 2 else 0.25

    def time(index: int) -> Tags:
        return {33434: fractions(33434, (exposure(index) / 25,))}

    assert psnr(errors(tmp_path, lambda index: samples(index, exposure(index)), time)) > psnr(control) - 0.5
