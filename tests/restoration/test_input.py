"""What a restoration reads, and what it makes of frames that differ in sharpness and exposure."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from twostagealign.data import PROTOCOL_NOISE, bundled_picture, write_raw_folder
from twostagealign.data.clips.sc_burst_writer import write_scene
from twostagealign.isp import add_noise, mosaic, protocol_camera, unpack, unprocess
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.restoration.input import choose_windows, open_input
from twostagealign.restoration.outputs import Outputs
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.runtime.errors import UserError

NOISE = PROTOCOL_NOISE["high"]


def views(count: int = 5) -> list[np.ndarray]:
    """What a camera sees of an astronaut who moves."""
    picture = bundled_picture("astronaut")
    return [picture[40 + 4 * i : 168 + 4 * i, 160 - 4 * i : 288 - 4 * i] for i in range(count)]


def write(folder: Path, pictures: Sequence[np.ndarray], exposures: Sequence[float] = (1,) * 5) -> Path:
    stack = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255
    clean = mosaic(unprocess(stack, protocol_camera())) * torch.tensor(exposures)[:, None, None, None]
    noisy = add_noise(clean, NOISE.shot, NOISE.read, torch.Generator().manual_seed(0))
    write_raw_folder(folder, unpack(noisy, "RGGB"), protocol_camera(), NOISE.shot, NOISE.read)
    return folder


@pytest.fixture
def psnr(tmp_path):
    """Restores with the shipped weights; returns the PSNR against the sharp picture of the reference frame, and it."""

    def run(folder: Path, reference: str | None = None) -> tuple[float, str]:
        pictures: list[np.ndarray] = []
        request = Request(
            find_checkpoint("tiny"), reference=reference, device="cpu", tiling=FAST, outputs=Outputs(tone="paper")
        )
        result = restore_folder(folder, tmp_path / "out", request, take=pictures.append)
        name = result["frames"][0]["name"]
        truth = views()[int(name)].astype(float)
        return -10 * np.log10(np.mean((pictures[0] / 255.0 - truth / 255) ** 2)), name

    return run


def test_a_blurred_middle_frame_costs_nothing(psnr, tmp_path) -> None:
    pictures = views()
    pictures[2] = cv2.GaussianBlur(pictures[2], (0, 0), 3)
    folder = write(tmp_path / "burst", pictures)
    sharpest, name = psnr(folder)
    assert name in ("0001", "0003")
    assert sharpest > psnr(folder, "middle")[0] + 5


def test_a_bracketed_burst_is_nearly_as_good_as_one_of_equal_exposures(psnr, tmp_path) -> None:
    equal, _ = psnr(write(tmp_path / "equal", views()))
    bracketed, name = psnr(write(tmp_path / "bracketed", views(), (1, 0.5, 1, 2, 1)))
    assert name == "0002"
    assert bracketed > equal - 0.2


def test_a_list_of_files_is_one_burst_in_natural_order(tmp_path) -> None:
    folder = write(tmp_path / "burst", views(3), (1,) * 3)
    for number in range(3):
        (folder / f"{number:04d}.png").rename(folder / f"shot{9 + number}.png")
    sequence = open_input([folder / "shot10.png", folder / "shot11.png", folder / "shot9.png"], None)
    assert list(sequence.frames) == ["shot9", "shot10", "shot11"]


def test_a_list_is_of_files(tmp_path) -> None:
    folder = write(tmp_path / "burst", views(3), (1,) * 3)
    with pytest.raises(UserError, match="not a file; give one folder, or the files of one burst"):
        open_input([folder, folder / "0000.png"], None)
    with pytest.raises(UserError, match="--simulate: found a list of files"):
        open_input([folder / "0001.png", folder / "0000.png"], "low")


def test_a_scene_of_sc_burst(tmp_path, tiny_checkpoint) -> None:
    generator = torch.Generator().manual_seed(0)
    write_scene(tmp_path / "Scene01", [torch.rand(4, 20, 24, generator=generator) for _ in range(7)], 0.01, 0.02)
    sequence, windows = choose_windows(open_input(tmp_path / "Scene01", None), None, None, False)
    assert len(sequence.frames) == 7
    assert windows == [[1, 2, 3, 4, 5]]
    with pytest.raises(UserError, match="--reference: found 1, expected 3, the frames in Scene01"):
        choose_windows(sequence, None, 1, False)
    request = Request(tiny_checkpoint, device="cpu", tiling=Tiling(patch=16, halo=4))
    result = restore_folder(tmp_path / "Scene01", tmp_path / "out", request)
    assert (tmp_path / "out" / result["frames"][0]["files"][0]).exists()
