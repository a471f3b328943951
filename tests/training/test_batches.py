"""Bursts that are read and bursts that are made on the device go through a run in the same way."""

import pytest
import torch

from twostagealign.data import StillsInMotion, StillsOnDevice
from twostagealign.options import load_options
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import SHIPPED
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.batches import Batch, TrainingBursts
from twostagealign.training.build import build_trainer

ALONE = Ranks()
LENGTH = 20
"""Of the data set: the run goes through it more than once."""


def batches(
    on_device: bool, first: int = 0, size: int = 4, number: int = 6, workers: int = 0, ranks: Ranks = ALONE
) -> list[Batch]:
    bursts = StillsInMotion("skimage", frames=3, size=32, length=LENGTH, on_device=on_device, recolour_probability=0.5)
    source = TrainingBursts(bursts, 7, size, 1, workers, torch.device("cpu"), ranks)
    return [batch for (batch,) in source.steps(first, number)]


def frames(found) -> torch.Tensor:
    return torch.cat([batch.frames for batch in found])


def seeds(found) -> list[int]:
    return [seed for batch in found for seed in batch.seeds]


@pytest.fixture(scope="module")
def whole():
    return batches(on_device=True)


def test_bursts_made_on_the_device_are_those_that_are_read(whole) -> None:
    read = batches(on_device=False)
    assert seeds(whole) == seeds(read)
    assert frames(whole).shape == frames(read).shape == (24, 3, 3, 32, 32)
    difference = (frames(whole).int() - frames(read).int()).abs().float()
    assert 0 < difference.mean() < 0.4
    assert frames(whole)[LENGTH:].equal(frames(whole)[: 24 - LENGTH])  # begun anew


def test_a_resumed_run_goes_on_with_the_same_bursts(whole) -> None:
    rest = batches(on_device=True, first=8, number=4)
    assert frames(rest).equal(frames(whole)[8:])
    assert seeds(rest) == seeds(whole)[8:]


@pytest.mark.parametrize(("count", "workers"), [(2, 1), (4, 0)])
def test_processes_share_the_bursts(whole, count, workers) -> None:
    parts = [batches(True, size=4 // count, workers=workers, ranks=Ranks(rank, count)) for rank in range(count)]
    shared = [batch for step in zip(*parts, strict=True) for batch in step]
    assert frames(shared).equal(frames(whole))
    assert seeds(shared) == seeds(whole)


def test_a_broken_picture_is_named(tmp_path) -> None:
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    bursts = StillsInMotion(tmp_path, size=32, on_device=True)
    with pytest.raises(UserError, match=r"broken\.png"):
        next(TrainingBursts(bursts, 0, 1, 1, 0, torch.device("cpu"), ALONE).steps(0, 1))


@pytest.mark.slow
def test_the_experiment_for_a_gpu_makes_a_step_on_a_cpu(tmp_path) -> None:
    """Two batches, made on the "device", of a narrower network."""
    small = ["network:nf=8", "train:total_iter=1", "train:batch_size=1", "train:accumulate=2", "train:workers=0"]
    small += [
        "device=cpu",
        "train:amp=none",
        f"path:experiments_root={tmp_path}",
        "datasets:val:length=1",
        "datasets:val:size=64",
    ]
    trainer = build_trainer(load_options(SHIPPED / "options/train/two_stage_base.yml", small))
    assert isinstance(trainer.bursts.dataset.on_device(torch.device("cpu")), StillsOnDevice)
    trainer.run()
    assert (trainer.progress.iteration, trainer.progress.bursts, trainer.progress.skipped) == (1, 2, 0)
    assert (tmp_path / "two_stage_base/training_states/1.state").is_file()


def shortened(first: int = 0, number: int = 12, count: int = 1) -> list[list[Batch]]:
    """Steps of two batches each, of bursts of 1 to 3 frames, on all processes: (step, batch of all processes)."""
    bursts = StillsInMotion("skimage", frames=3, size=32, length=LENGTH)
    ranks = [Ranks(rank, count) for rank in range(count)]
    lengths = {1: 16, 2: 32, 3: 32}
    sources = [TrainingBursts(bursts, 7, 4 // count, 2, 0, torch.device("cpu"), each, lengths) for each in ranks]
    steps = zip(*(source.steps(first, number) for source in sources), strict=True)
    return [[batch for batches in zip(*step, strict=True) for batch in batches] for step in steps]


def test_the_number_of_frames_is_drawn_for_each_step() -> None:
    steps = shortened()
    numbers = [{batch.frames.shape[1] for batch in step} for step in steps]
    assert all(len(number) == 1 for number in numbers)
    assert set.union(*numbers) == {1, 2, 3}
    bursts = StillsInMotion("skimage", frames=3, size=32, length=LENGTH)
    for index, (batch, _) in enumerate(steps):
        whole = bursts[8 * index % LENGTH]
        expected = {1: whole[1:2, :, 8:24, 8:24], 2: whole[:2], 3: whole}[batch.frames.shape[1]]
        assert batch.frames[0].equal(expected)


def test_the_number_of_frames_depends_neither_on_the_start_nor_on_the_processes() -> None:
    steps = shortened()
    for others in (shortened(first=5 * 8, number=7), [*shortened(count=2)][5:]):
        for step, other in zip(steps[5:], others, strict=True):
            assert frames(other).equal(frames(step))
            assert seeds(other) == seeds(step)
