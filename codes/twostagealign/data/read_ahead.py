"""Reading in the background what is needed next."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def read_ahead(
    requests: Sequence[Sequence[Key]], load: Callable[[Key], Item], workers: int
) -> Iterator[list[Future[Item]]]:
    """Load the items of each request while the one before it is being worked on.

    An item that is part of neither the current nor the next request is dropped, so that memory does not depend on the
    number of requests; one that overlapping requests share is loaded once.

    Args:
        requests: keys of the items that are wanted together, in the order of use.
        load: makes the item of a key; called in other threads.
        workers: threads; 0: nothing is loaded before its request's turn.

    Yields:
        For each request the futures of its items; `result()` waits, and raises what `load` raised. They are good until
        the next request.
    """
    pool = ThreadPoolExecutor(max(workers, 1))
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
