from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch
from torch import Tensor

from twostagealign.data import PROTOCOL_NOISE, bundled_picture, open_raw_folder, read_burst, write_raw_folder
from twostagealign.data.camera.reference import choose_reference
from twostagealign.isp import add_noise, mosaic, protocol_camera, unpack, unprocess
from twostagealign.runtime.errors import UserError

NOISE = PROTOCOL_NOISE["low"]


def views(count: int, height: int = 120, width: int = 160) -> list[np.ndarray]:
    """What a camera sees of a cat that moves."""
    cat = bundled_picture("chelsea")
    return [cat[60 + 2 * i : 60 + 2 * i + height, 100 + 4 * i : 100 + 4 * i + width] for i in range(count)]


def mosaics(pictures: Sequence[np.ndarray], exposures: Sequence[float]) -> Tensor:
    """Noisy RGGB mosaics in [0, 1]."""
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    clean = mosaic(unprocess(stack, protocol_camera())) * torch.tensor(exposures)[:, None, None, None]
    return unpack(add_noise(clean, NOISE.shot, NOISE.read, torch.Generator().manual_seed(0)), "RGGB")


def write(folder: Path, pictures: Sequence[np.ndarray], exposures: Sequence[float]) -> Path:
    """Write mosaics that do not say their exposure."""
    write_raw_folder(folder, mosaics(pictures, exposures), protocol_camera(), NOISE.shot, NOISE.read)
    return folder


def write_dngs(
    folder: Path, pictures: Sequence[np.ndarray], exposures: Sequence[float], times: Sequence[float]
) -> Path:
    """Write DNGs that say exposure times."""
    folder.mkdir()
    samples = (mosaics(pictures, exposures) * 4000).round().numpy().astype(np.uint16)
    for number, (mosaic_, time) in enumerate(zip(samples, times, strict=True)):
        tags = [
            (33421, 3, 2, (2, 2)),
            (33422, 1, 4, bytes((0, 1, 1, 2))),
            (33434, 5, 1, (round(time * 10**6), 10**6)),
            (50706, 1, 4, bytes((1, 4, 0, 0))),
            (50714, 4, 1, 0),
            (50717, 4, 1, 4000),
            (50721, 10, 9, [part for value in np.eye(3).ravel() for part in (int(value), 1)]),
            (50728, 5, 3, (1, 2, 1, 1, 1, 2)),
            (50778, 3, 1, 21),
            (51041, 12, 2, (NOISE.shot, NOISE.read**2)),
        ]
        with tifffile.TiffWriter(folder / f"{number}.dng") as file:
            file.write(mosaic_, photometric=32803, metadata=None, extratags=[(*tag, True) for tag in tags])
    return folder


def test_a_blurred_middle_frame_is_not_the_reference(tmp_path) -> None:
    pictures = views(5)
    pictures[2] = cv2.GaussianBlur(pictures[2], (0, 0), 3)
    folder = open_raw_folder(write(tmp_path / "burst", pictures, [1] * 5))
    assert choose_reference(folder)[1] in (1, 3)
    assert choose_reference(folder, "sharpest")[1] in (1, 3)
    assert choose_reference(folder, "middle")[1] == 2
    assert choose_reference(folder, 4)[1] == 4


@pytest.mark.parametrize("rows", [slice(300), slice(300, None)])
def test_the_whole_of_a_large_frame_is_looked_at(tmp_path, rows: slice) -> None:
    """Only one frame is sharp, and only in its upper or its lower half."""
    pictures = [cv2.resize(each, (160, 600)) for each in views(3)]
    for number, picture in enumerate(pictures):
        blurred = cv2.GaussianBlur(picture, (0, 0), 3)
        blurred[rows] = picture[rows] if number == 2 else blurred[rows]
        pictures[number] = blurred
    folder = open_raw_folder(write(tmp_path / "burst", pictures, [1] * 3))
    assert choose_reference(folder)[1] == 2


def test_of_equally_sharp_frames_the_middle_one_is_taken(tmp_path) -> None:
    folder = open_raw_folder(write(tmp_path / "burst", views(5), [1] * 5))
    chosen, index = choose_reference(folder)
    assert index == 2
    assert list(chosen.exposures or ()) == [1] * 5


def test_exposures_by_the_samples(tmp_path, caplog) -> None:
    folder = open_raw_folder(write(tmp_path / "burst", views(5), [1, 0.5, 1, 2, 1]))
    chosen, index = choose_reference(folder)
    assert index == 2  # of the frames of medium exposure, equally sharp, the middle one
    assert np.array(chosen.exposures) / chosen.exposures[2] == pytest.approx([1, 0.5, 1, 2, 1], rel=0.05)
    assert "no exposure times; exposures by the samples: " in caplog.text


def test_of_two_exposures_the_longer_one_is_restored(tmp_path) -> None:
    folder = open_raw_folder(write(tmp_path / "burst", views(5), [0.25, 1, 0.25, 0.25, 0.25]))
    assert choose_reference(folder)[1] == 1


def test_many_frames_of_one_exposure_that_moves_far(tmp_path) -> None:
    """From the first frame to the last, the scene moves by half the width, and is another one."""
    ramp = np.tile(np.linspace(30, 230, 400).astype(np.uint8)[None, :, None], (120, 1, 3))
    pictures = [ramp[:, 8 * i : 8 * i + 160] for i in range(11)]
    folder = open_raw_folder(write(tmp_path / "burst", pictures, [1] * 11))
    assert list(choose_reference(folder, "middle")[0].exposures or ()) == [1] * 11


def test_exposures_by_the_metadata(tmp_path, caplog) -> None:
    exposures = [1, 0.5, 1, 2, 1]
    folder = open_raw_folder(write_dngs(tmp_path / "burst", views(5), exposures, np.array(exposures) / 50))
    chosen, _ = choose_reference(folder, "middle")
    assert list(chosen.exposures or ()) == pytest.approx(exposures)
    assert not caplog.messages


def test_metadata_that_the_samples_contradict(tmp_path, caplog) -> None:
    folder = open_raw_folder(write_dngs(tmp_path / "burst", views(3), [1, 1, 1], [0.01, 0.01, 0.04]))
    assert list(choose_reference(folder)[0].exposures or ()) == pytest.approx([1, 1, 4])
    assert "2.dng: by its metadata 4 times the exposure of " in caplog.text
    assert ", by its samples 1 times; the metadata are used" in caplog.text


def test_a_frame_of_another_scene_and_exposure_is_refused(tmp_path) -> None:
    pictures = [*views(2), bundled_picture("coffee")[200:320, 200:360]]
    folder = open_raw_folder(write(tmp_path / "burst", pictures, [1, 1, 0.3]))
    with pytest.raises(UserError, match=r"0002\.png: its exposure is not known: .*; remove it$"):
        choose_reference(folder)


def test_frames_are_brought_to_the_exposure_of_the_reference(tmp_path) -> None:
    """Signal and noise of a frame are multiplied by the same factor, and its clipped samples are unknown."""
    picture = np.full((40, 48, 3), 100, np.uint8)
    picture[:10] = 230
    pictures, exposures = [picture] * 3, np.array([1, 0.5, 5])
    folder = open_raw_folder(write_dngs(tmp_path / "burst", pictures, exposures, exposures / 50))
    chosen, _ = choose_reference(folder, 0)
    raw, noise = read_burst(chosen, [1, 0, 2]).stack()
    dark, reference, bright = raw[:, :, 8:].mean(dim=(1, 2, 3)).tolist()
    assert (dark, bright) == pytest.approx((reference, reference), rel=0.05)
    for planes, deviation in zip(raw[:, 1, 8:], noise[:, 1, 8:], strict=True):
        assert deviation.mean().item() == pytest.approx(planes.std().item(), rel=0.2)
    assert noise[0].mean() > 1.3 * noise[1].mean()
    assert noise[2, 1, :4].min() > 0.5  # green of the bright part
