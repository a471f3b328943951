"""Threads beside the one that computes."""

from concurrent.futures import ThreadPoolExecutor

import torch


def background_pool(workers: int) -> ThreadPoolExecutor:
    """Return a pool of threads that prepare tensors for the thread that computes.

    Each of them calls PyTorch with one core. Otherwise each would get a team of OpenMP threads of its own. With more
    OpenMP threads than cores, all of them sleep at every barrier, and the network takes an eighth longer. Threads that
    are started later begin with one core, too, unless they set another number.

    Args:
        workers: number of threads, at least 1.
    """
    return ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,))
