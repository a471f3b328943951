import os
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def trials(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Without a device, Triton's tuner cannot time its trials: run each of them once. Returns a list of them."""
    from triton.runtime.autotuner import Autotuner

    trials: list[None] = []

    def run_once(_: Autotuner, call: Callable[[], None], **__: Any) -> list[float]:
        trials.append(call())
        return [1.0] * 3

    if os.environ.get("TRITON_INTERPRET") == "1":
        monkeypatch.setattr(Autotuner, "do_bench", run_once)
    return trials
