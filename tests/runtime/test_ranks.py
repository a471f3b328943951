"""Every process of a job has a GPU of its own, as long as there are enough."""

import pytest
import torch

from twostagealign.runtime.ranks import Ranks


@pytest.fixture
def current(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """Devices that have been made the current one, on a stand-in of a machine with three GPUs."""
    made: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "set_device", made.append)
    return made


@pytest.mark.parametrize(("local_rank", "number"), [("0", 0), ("2", 2), ("4", 1)])
def test_the_gpu_of_a_process_is_the_current_one(monkeypatch, current, local_rank: str, number: int) -> None:
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert Ranks(rank=9, count=12).device("auto") == torch.device("cuda", number)
    assert current == [torch.device("cuda", number)]


def test_launchers_that_do_not_number_the_processes_of_a_machine(monkeypatch, current) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert Ranks(rank=5, count=6).device("cuda") == torch.device("cuda", 2)


def test_a_process_alone_and_one_on_a_cpu_change_nothing(current) -> None:
    assert Ranks().device("auto") == torch.device("cuda")
    assert Ranks(rank=1, count=2).device("cpu") == torch.device("cpu")
    assert not current
