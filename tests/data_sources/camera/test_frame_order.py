from datetime import datetime, timedelta
from pathlib import Path

import pytest

from twostagealign.data.camera.frame_order import capture_order, split_by_gaps
from twostagealign.runtime.errors import UserError

PATHS = [Path(f"burst/{name}.dng") for name in "abcd"]


def times(*seconds: float | None) -> list[datetime | None]:
    return [None if value is None else datetime(2026, 1, 1) + timedelta(seconds=value) for value in seconds]


def test_capture_times_order_frames_and_a_contradiction_is_said(caplog) -> None:
    assert capture_order(PATHS, times(0, 0.1, 0.2, 0.3)) == [0, 1, 2, 3]
    assert not caplog.messages
    assert capture_order(PATHS, times(0, 0.2, 0.1, 0.3)) == [0, 2, 1, 3]
    assert caplog.messages == ["burst: c.dng was captured before b.dng; used in this order"]


def test_frames_of_one_second_stay_in_the_order_of_their_names(caplog) -> None:
    assert capture_order(PATHS, times(1, 1, 1, 1)) == [0, 1, 2, 3]
    assert not caplog.messages


def test_times_of_some_frames_are_not_used(caplog) -> None:
    assert capture_order(PATHS, times(3, None, 1, 0)) == [0, 1, 2, 3]
    assert caplog.messages == [
        "burst/b.dng: no capture time, unlike other files; frames are in the order of their names"
    ]
    caplog.clear()
    assert capture_order(PATHS, times(None, None, None, None)) == [0, 1, 2, 3]
    assert not caplog.messages


def test_bursts_end_at_gaps() -> None:
    assert split_by_gaps(PATHS, times(0, 0.4, 5, 5.5), 1) == [[0, 1], [2, 3]]
    assert split_by_gaps(PATHS, times(0, 1, 2, 3), 1) == [[0, 1, 2, 3]]
    assert split_by_gaps(PATHS, times(9, 0, 9.5, 0.5), 1) == [[1, 3], [0, 2]]


def test_gaps_need_the_time_of_every_file() -> None:
    with pytest.raises(UserError, match=r"^burst/c\.dng: no capture time, which --split-bursts needs"):
        split_by_gaps(PATHS, times(0, 1, None, 3), 1)
