"""Read-ahead in background threads."""

from collections.abc import Callable, Generator, Hashable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from twostagealign.runtime.threads import background_pool

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def read_ahead(
    requests: Sequence[Sequence[Key]], load: Callable[[Key], Item], workers: int
) -> Generator[list[Future[Item]], None, None]:
    """Load the items of each request while the caller works on the request before it.

    Items that overlapping requests share are loaded once. Items that belong neither to the current nor to the next
    request are dropped, so memory does not depend on the number of requests.

    Args:
        requests: keys of the items that are used together, in the order of use.
        load: loads the item of a key; called in other threads.
        workers: number of threads; 0: no item is loaded before its request's turn.

    Yields:
        For each request the futures of its items, valid until the next request. `result()` waits for the item, and
        raises what `load` raised.
    """
    pool = background_pool(max(workers, 1))
    futures: dict[Key, Future[Item]] = {}
    try:
        for turn, request in enumerate(requests):
            near = list(request)
            if workers and turn + 1 < len(requests):
                near += requests[turn + 1]
            for key in futures.keys() - set(near):
                del futures[key]
            for key in near:
                if key not in futures:
                    futures[key] = pool.submit(load, key)
            yield [futures[key] for key in request]
    finally:
        pool.shutdown(cancel_futures=True)
