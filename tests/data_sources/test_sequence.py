import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from twostagealign.data.burst import NoiseLevel, RawFrame
from twostagealign.data.sequence import PADDINGS, UniformSequence, frame_window, read_burst, read_bursts
from twostagealign.isp import protocol_camera

WINDOWS = json.loads((Path(__file__).parents[1] / "data" / "frame_windows.json").read_text())


@pytest.mark.parametrize("padding", PADDINGS)
def test_windows_agree_with_the_reference_numbers(padding):
    entries = [entry for entry in WINDOWS if entry["padding"] == padding]
    assert len(entries) == 51
    for entry in entries:
        assert frame_window(entry["center"], entry["count"], entry["frames"], padding) == entry["indices"], entry


@given(st.data(), st.sampled_from(PADDINGS), st.integers(1, 9))
def test_every_window_is_inside_the_clip_around_its_reference(data, padding, frames):
    count = data.draw(st.integers(frames, frames + 12))
    center = data.draw(st.integers(0, count - 1))
    window = frame_window(center, count, frames, padding)
    assert len(window) == frames
    assert window[frames // 2] == center
    assert min(window) >= 0
    assert max(window) < count
    if padding in ("new_info", "circle"):
        assert len(set(window)) == frames


def test_even_windows_reach_one_frame_further_back():
    assert frame_window(4, 9, 4) == [2, 3, 4, 5]
    assert frame_window(0, 9, 4) == [3, 2, 0, 1]
    assert frame_window(8, 9, 4) == [6, 7, 8, 5]


def test_short_clips():
    for padding in PADDINGS:
        assert frame_window(0, 1, 1, padding) == [0]
    assert frame_window(0, 1, 5, "replicate") == [0] * 5
    assert frame_window(1, 3, 5, "reflection") == [1, 0, 1, 2, 1]
    for padding, count in (("new_info", 4), ("circle", 4), ("reflection", 2)):
        with pytest.raises(ValueError, match=f"found a clip of {count} frames, expected at least {count + 1} "):
            frame_window(0, count, 5, padding)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 9, 5, "mirror"), "padding: found 'mirror', expected one of replicate, "),
        ((0, 9, 0), "frames: found 0"),
        ((9, 9, 5), "center: found 9, expected 0 to 8"),
        ((-1, 9, 5), "center: found -1"),
    ],
)
def test_window_errors(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        frame_window(*arguments)


class Counted(UniformSequence):
    """Frames that say their index; counts how often each one is read."""

    def __init__(self, count: int) -> None:
        names = [str(index) for index in range(count)]
        super().__init__("counted", names, (1, 1), protocol_camera(), NoiseLevel("none", 0, 0))
        self.reads = [0] * count

    def read(self, index: int) -> RawFrame:
        self.reads[index] += 1
        return RawFrame(torch.full((4, 1, 1), float(index)), self.noise)


def indices(burst) -> list[float]:
    return [float(frame.planes[0, 0, 0]) for frame in burst.frames]


def test_a_burst_has_its_frames_in_the_order_of_the_window():
    sequence = Counted(4)
    burst = read_burst(sequence, [3, 0, 1, 0])
    assert indices(burst) == [3, 0, 1, 0]
    assert burst.camera is sequence.camera
    assert sequence.reads == [1, 1, 0, 1]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_overlapping_windows_read_each_frame_once(workers):
    sequence = Counted(12)
    windows = [frame_window(center, 12, 5) for center in range(12)]
    assert [indices(burst) for burst in read_bursts(sequence, windows, workers)] == windows
    assert sequence.reads == [1] * 12


def test_reading_ahead_keeps_to_the_next_window():
    sequence = Counted(9)
    bursts = read_bursts(sequence, [[0, 1, 2], [1, 2, 3], [6, 7, 8]])
    next(bursts)
    assert sum(sequence.reads[4:]) == 0
    bursts.close()
