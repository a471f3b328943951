import threading

import pytest

from twostagealign.data.read_ahead import read_ahead


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_request_gets_its_items_each_loaded_once(workers) -> None:
    loaded = []

    def load(key):
        loaded.append(key)
        return 10 * key

    windows = [[0, 1, 2], [1, 2, 3], [2, 3, 4], [7, 8, 9]]
    found = [[future.result() for future in futures] for futures in read_ahead(windows, load, workers)]
    assert found == [[10 * key for key in window] for window in windows]
    assert sorted(loaded) == [0, 1, 2, 3, 4, 7, 8, 9]


def test_next_request_is_loaded_in_the_background_and_no_more() -> None:
    loaded = {key: threading.Event() for key in range(4)}
    requests = read_ahead([[0], [1], [2], [3]], lambda key: loaded[key].set(), workers=1)
    next(requests)
    assert loaded[1].wait(timeout=10)  # nobody has asked for it yet
    assert not loaded[2].is_set()
    assert not loaded[3].is_set()
    requests.close()


def test_without_workers_nothing_is_loaded_before_its_turn() -> None:
    loaded = []
    requests = read_ahead([[0], [1]], loaded.append, workers=0)
    next(requests)[0].result()
    assert loaded == [0]
    next(requests)[0].result()
    assert loaded == [0, 1]


def test_items_that_are_not_needed_any_more_are_let_go() -> None:
    class Item:
        alive = 0

        def __init__(self) -> None:
            Item.alive += 1

        def __del__(self) -> None:
            Item.alive -= 1

    most = 0
    for futures in read_ahead([[i, i + 1, i + 2] for i in range(50)], lambda _: Item(), workers=1):
        for future in futures:
            future.result()
        most = max(most, Item.alive)
    assert most <= 5  # this request, the new item of the next one, and one on its way out


def test_error_waits_for_its_turn() -> None:
    def load(key):
        if key == 1:
            raise ValueError("broken")
        return key

    requests = read_ahead([[0], [1]], load, workers=1)
    assert next(requests)[0].result() == 0
    with pytest.raises(ValueError, match="broken"):
        next(requests)[0].result()
