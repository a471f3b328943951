import cv2
import numpy as np
import pytest
import torch

from twostagealign.data import PROTOCOL_NOISE, ClipInMemory, read_burst
from twostagealign.isp import demosaic, process, protocol_camera, tone_curve
from twostagealign.options import load_options
from twostagealign.restoration.frame import RestoredFrame
from twostagealign.restoration.quality import develop, measure
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import Ranks
from twostagealign.training import validation
from twostagealign.training.build import build_trainer
from twostagealign.training.validation import validate


class Bursts(list):
    def clip(self, index: int) -> str:
        return f"clip{index}"

    def __getitem__(self, index):
        picked = super().__getitem__(index)
        return Bursts(picked) if isinstance(index, slice) else picked


def never() -> bool:
    return False


@pytest.fixture
def bursts():
    """Three bursts of clean frames, smooth enough to tell a picture from noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3 * 3, 3, 6, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size=(24, 28), mode="bilinear")
    return Bursts(smooth.mul(255).byte().unflatten(0, (3, 3)))


@pytest.fixture
def seen(monkeypatch):
    """Restoration that returns the truth a little darker; keeps what it was given."""
    calls = []

    def restore_frame(restorer, burst, tiling):
        calls.append((*burst.stack(), tiling))
        return RestoredFrame(torch.zeros(1, 2), torch.zeros(1, 1, 2), {}, image=0.9 * truths[len(calls) - 1])

    truths = []
    monkeypatch.setattr(validation, "restore_frame", restore_frame)
    return calls, truths


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_validation_follows_the_test_protocol(tmp_path, make_restorer, bursts, seen) -> None:
    calls, truths = seen
    noise, tiling = PROTOCOL_NOISE["low"], Tiling(16, 4)
    expected = [read_burst(ClipInMemory("", frames, noise), range(3)) for frames in bursts]
    truths += [burst.target() for burst in expected]
    found = validate(make_restorer(), bursts, noise, tiling, tmp_path / "new", 2, Ranks(), never)
    assert [(quality.index, quality.clip) for quality in found] == [(0, "clip0"), (1, "clip1"), (2, "clip2")]
    assert len(calls) == 3
    for quality, burst, (lq, noise_map, used) in zip(found, expected, calls, strict=True):
        assert torch.equal(lq, burst.stack()[0])
        assert torch.equal(noise_map, burst.stack()[1])
        assert used == tiling
        target = develop(burst.target(), protocol_camera())
        expected_quality = measure(develop(0.9 * burst.target(), protocol_camera()), target)
        assert (quality.psnr, quality.ssim) == (expected_quality.psnr, expected_quality.ssim)
        assert 20 < quality.psnr < 40


def test_validation_shows_noisy_restored_and_true_side_by_side(tmp_path, make_restorer, bursts, seen) -> None:
    noise = PROTOCOL_NOISE["high"]
    expected = [read_burst(ClipInMemory("", frames, noise), range(3)) for frames in bursts]
    seen[1].extend(burst.target() for burst in expected)
    folder = tmp_path / "new" / "1000"
    validate(make_restorer(), bursts, noise, Tiling(16, 4), folder, 2, Ranks(), never)
    assert sorted(path.name for path in folder.iterdir()) == ["000.png", "001.png"]
    for index in range(2):
        views = np.split(read(folder / f"{index:03d}.png"), 3, axis=1)
        truth = expected[index].target()
        linear = (demosaic(expected[index].reference.raw()), 0.9 * truth, truth)
        for view, image in zip(views, linear, strict=True):
            srgb = tone_curve(process(image[None], protocol_camera())[0])
            np.testing.assert_allclose(view, 255 * srgb.permute(1, 2, 0), atol=0.51)


def test_validation_without_pictures_writes_nothing(tmp_path, make_restorer, bursts) -> None:
    """With the network itself: twice the same numbers, and the restorer stays as it is."""
    restorer = make_restorer()
    results = [
        validate(restorer, bursts[:1], PROTOCOL_NOISE["high"], Tiling(16, 4), tmp_path / "new", 0, Ranks(), never)
        for _ in range(2)
    ]
    assert results[0] == results[1]
    assert list(tmp_path.iterdir()) == []
    for name, tensor in make_restorer().state_dict().items():
        assert torch.equal(restorer.state_dict()[name], tensor)


def test_the_bursts_are_shared_out_without_duplicates(tmp_path, make_restorer, bursts) -> None:
    restorer, options = make_restorer(), (PROTOCOL_NOISE["high"], Tiling(16, 4), tmp_path / "new", 0)
    whole = validate(restorer, bursts, *options, Ranks(), never)

    class Rank(Ranks):
        def gather(self, items):
            return list(items)

    parts = [validate(restorer, bursts, *options, Rank(rank, 2), never) for rank in range(2)]
    assert sorted(parts[0] + parts[1], key=lambda quality: quality.index) == whole
    assert [len(part) for part in parts] == [2, 1]


def test_a_stop_leaves_out_the_rest(tmp_path, make_restorer, bursts) -> None:
    answers = iter([None, "SIGTERM"])
    options = (PROTOCOL_NOISE["high"], Tiling(16, 4), tmp_path / "new", 0)
    found = validate(make_restorer(), bursts, *options, Ranks(), lambda: next(answers))
    assert [quality.index for quality in found] == [0]


def test_frames_too_small_to_measure_are_refused_before_training(tiny_experiment, tmp_path) -> None:
    expected = "datasets.val: frames of 24x10 pixels are too small to measure; use at least 12x12"
    with pytest.raises(UserError, match=expected):
        build_trainer(load_options(tiny_experiment, ["datasets:val:size=[10, 24]"]))
    assert not (tmp_path / "experiments").exists()
