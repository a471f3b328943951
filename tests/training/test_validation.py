from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from twostagealign.data import PROTOCOL_NOISE, Burst, ClipInMemory, read_burst
from twostagealign.isp import demosaic, process, protocol_camera, tone_curve
from twostagealign.matching import Search
from twostagealign.options import load_options
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.build import build_trainer
from twostagealign.training.validation import Validation


class Bursts(list):
    def clip(self, index: int) -> str:
        return f"clip{index}"

    def __getitem__(self, index):
        picked = super().__getitem__(index)
        return Bursts(picked) if isinstance(index, slice) else picked


NOISE = PROTOCOL_NOISE["high"]
TILING = Tiling(16, 4)


@pytest.fixture
def bursts():
    """Three bursts of clean frames, smooth enough to tell a picture from noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3 * 3, 3, 6, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(24, 28), mode="bilinear")
    return Bursts(smooth.mul(255).byte().unflatten(0, (3, 3)))


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def restored(restorer, frames, noise) -> tuple[Burst, torch.Tensor]:
    burst = read_burst(ClipInMemory("", frames, noise), range(3))
    return burst, restore_frame(restorer, burst, TILING).image


def test_validation_follows_the_test_protocol(tmp_path, make_restorer, bursts) -> None:
    restorer, noise, search = make_restorer(), PROTOCOL_NOISE["low"], Search(32)
    found = Validation(bursts, noise, search, tiling=TILING)(restorer, tmp_path)
    assert [(quality.index, quality.clip) for quality in found] == [(0, "clip0"), (1, "clip1"), (2, "clip2")]
    restorer = restorer.with_matcher(replace(restorer.matcher, search=search))
    for quality, frames in zip(found, bursts, strict=True):
        burst, image = restored(restorer, frames, noise)
        expected = measure(develop(image, protocol_camera()), develop(burst.target(), protocol_camera()))
        assert quality.measures == {"psnr": expected.psnr, "ssim": expected.ssim}


def test_validation_shows_noisy_restored_and_true_side_by_side(tmp_path, make_restorer, bursts) -> None:
    restorer, folder = make_restorer(), tmp_path / "new" / "1000"
    Validation(bursts, NOISE, restorer.matcher.search, 2, TILING)(restorer, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["000.png", "001.png"]
    for index in range(2):
        views = np.split(read(folder / f"{index:03d}.png"), 3, axis=1)
        burst, image = restored(restorer, bursts[index], NOISE)
        for view, linear in zip(views, (demosaic(burst.reference.raw()), image, burst.target()), strict=True):
            srgb = tone_curve(process(linear[None], protocol_camera())[0])
            np.testing.assert_allclose(view, 255 * srgb.permute(1, 2, 0), atol=0.51)


def test_validation_without_pictures_writes_nothing(tmp_path, make_restorer, bursts) -> None:
    """Twice the same numbers, and the restorer stays as it is."""
    restorer = make_restorer()
    validation = Validation(bursts[:1], NOISE, restorer.matcher.search, tiling=TILING)
    assert validation(restorer, tmp_path / "new") == validation(restorer, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    for name, tensor in make_restorer().state_dict().items():
        assert torch.equal(restorer.state_dict()[name], tensor)


def test_the_bursts_are_shared_out_without_duplicates(tmp_path, make_restorer, bursts) -> None:
    restorer = make_restorer()
    validation = Validation(bursts, NOISE, restorer.matcher.search, tiling=TILING)
    whole = validation(restorer, tmp_path)

    class Rank(Ranks):
        def gather(self, items):
            return list(items)

    parts = [validation(restorer, tmp_path, Rank(rank, 2)) for rank in range(2)]
    assert sorted(parts[0] + parts[1], key=lambda quality: quality.index) == whole
    assert [len(part) for part in parts] == [2, 1]


def test_a_stop_leaves_out_the_rest(tmp_path, make_restorer, bursts) -> None:
    answers, restorer = iter([None, "SIGTERM"]), make_restorer()
    validation = Validation(bursts, NOISE, restorer.matcher.search, tiling=TILING)
    found = validation(restorer, tmp_path, stopped=lambda: next(answers))
    assert [quality.index for quality in found] == [0]


def test_frames_too_small_to_measure_are_refused_before_training(tiny_experiment, tmp_path) -> None:
    expected = "datasets.val: frames of 24x10 pixels are too small to measure; use at least 12x12"
    with pytest.raises(UserError, match=expected):
        build_trainer(load_options(tiny_experiment, ["datasets:val:size=[10, 24]"]))
    assert not (tmp_path / "experiments").exists()
