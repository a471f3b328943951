"""What neighbouring bursts share is computed once, and forgotten with the last burst that needs it."""

import weakref
from dataclasses import replace

import pytest
import torch

from twostagealign.data.burst import NoiseLevel, RawFrame
from twostagealign.matching import FrameMaps
from twostagealign.restoration.frame_memory import FrameMemory

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def frames() -> list[RawFrame]:
    return [RawFrame(torch.zeros(4, 4, 4), NoiseLevel("none", 0, 0)) for _ in range(4)]


class Describer:
    """Makes maps, and counts them."""

    def __init__(self) -> None:
        self.made: list[weakref.ref[FrameMaps]] = []

    def __call__(self) -> FrameMaps:
        maps = FrameMaps(torch.zeros(1), None)
        self.made.append(weakref.ref(maps))
        return maps

    def alive(self) -> int:
        return sum(maps() is not None for maps in self.made)


def describe(memory: FrameMemory, window: list[RawFrame], make: Describer) -> None:
    for frame in memory.load(window, CPU):
        memory.describe(frame, make)


def test_frames_of_the_next_burst_are_known(frames: list[RawFrame]) -> None:
    memory, make = FrameMemory(), Describer()
    for start, made in ((0, 3), (1, 4), (0, 5)):
        describe(memory, frames[start : start + 3], make)
        assert len(make.made) == made
        assert make.alive() == 3  # as for one burst


def test_a_frame_twice_in_a_burst_is_described_once(frames: list[RawFrame]) -> None:
    memory, make = FrameMemory(), Describer()
    describe(memory, [frames[0], frames[0], frames[1]], make)
    assert len(make.made) == 2


def test_in_another_exposure_a_frame_is_another_one(frames: list[RawFrame]) -> None:
    memory, make = FrameMemory(), Describer()
    describe(memory, frames[:2], make)
    describe(memory, [replace(frames[0], gain=2.0), replace(frames[1], gain=1.0)], make)
    assert len(make.made) == 3


def test_frames_are_copied_to_the_device_once(frames: list[RawFrame]) -> None:
    memory = FrameMemory()
    before, after = memory.load(frames[:3], META), memory.load(frames[1:], META)
    assert [frame.planes.device for frame in after] == [META] * 3
    assert after[0] is before[1]
    assert after[1] is before[2]


def test_a_single_burst_leaves_nothing(frames: list[RawFrame]) -> None:
    memory, make = FrameMemory(keeps=False), Describer()
    describe(memory, frames, make)
    assert make.alive() == 0
