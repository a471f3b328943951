import time

import pytest
import torch

from twostagealign.runtime import stopwatch
from twostagealign.runtime.stopwatch import Stopwatch


def test_the_times_of_a_part_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: now)
    watch = Stopwatch(torch.device("cpu"))
    for part, seconds in (("a", 1.0), ("b", 4.0), ("a", 2.0)):
        with watch(part):
            now += seconds
        now += 100.0
    assert watch.seconds == {"a": 3.0, "b": 4.0}
    with watch("b"):
        now += 0.5
    assert watch.seconds == {"a": 3.0, "b": 4.5}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_is_not_waited_for_until_the_times_are_asked_for() -> None:
    x = torch.rand(8192, 8192, device="cuda")
    torch.cuda.synchronize()
    watch, start = Stopwatch(x.device), time.perf_counter()
    for part in ("a", "b", "a"):
        with watch(part):
            for _ in range(20):
                x = x @ x
    queued = time.perf_counter() - start
    seconds = watch.seconds
    assert seconds["a"] + seconds["b"] > 2 * queued
    assert 1.5 < seconds["a"] / seconds["b"] < 2.5
