"""The processes of a round find each other, whatever earlier rounds have left in the store."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from torch.distributed import HashStore

from twostagealign.runtime.rendezvous import agree_on_round

LONG, SHORT = timedelta(seconds=30), timedelta(seconds=0.2)


def names(store: HashStore, count: int) -> set[str]:
    """Names that the processes of one round agree on."""
    with ThreadPoolExecutor(count) as pool:
        return {*pool.map(lambda rank: agree_on_round(store, rank, count, LONG), range(count))}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_round_has_a_name_of_its_own(count: int) -> None:
    store = HashStore()
    rounds = [names(store, count) for _ in range(3)]
    assert all(len(found) == 1 for found in rounds)
    assert len(set.union(*rounds)) == 3


def test_a_process_that_died_while_it_joined_leaves_nothing_that_counts() -> None:
    """Neither one that waits for the first process nor a first process that waits for others."""
    store = HashStore()
    for rank in (0, 1):
        with pytest.raises(TimeoutError):
            agree_on_round(store, rank, 3, SHORT)
    (name,) = names(store, 3)
    assert {name} != names(store, 3)


def test_a_process_that_does_not_come_is_waited_for_in_vain() -> None:
    with pytest.raises(TimeoutError, match="waited for"):
        agree_on_round(HashStore(), 0, 2, SHORT)
