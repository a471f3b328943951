"""Which bursts a process trains on, and in what order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from twostagealign.data import BurstPlan, StillsInMotion, StillsOnDevice, read_picture
from twostagealign.runtime.ranks import Ranks


@dataclass(frozen=True)
class Batch:
    """Bursts that go through the network together.

    Attributes:
        frames: clean sRGB, uint8, (B, N, 3, 2H, 2W), on the device.
        seeds: of the degradation of each burst.
    """

    frames: Tensor
    seeds: list[int]


def burst_numbers(first: int, size: int, ranks: Ranks) -> Iterator[range]:
    """Numbers of the bursts in each batch of this process, without end.

    The bursts of a run are numbered through: batch after batch, and within a batch of all processes rank after rank. So
    they are the same ones in the same steps however many processes share them.

    Args:
        first: number of the next burst of all processes.
        size: bursts per batch and process.
        ranks: the processes.
    """
    for start in count(first + ranks.rank * size, size * ranks.count):
        yield range(start, start + size)


def training_batches(
    dataset: Dataset, seed: int, first: int, size: int, number: int, workers: int, device: torch.device, ranks: Ranks
) -> Iterator[Batch]:
    """Read this process's batches ahead, in other processes.

    Of `StillsInMotion(on_device=True)` only what is random is drawn there; the frames are made on the device, in this
    process, when they are asked for.

    Args:
        dataset: burst i of it is a function of its own seed and of i; after its last one it begins anew.
        seed: of the degradation; that of a burst is a function of this and of the burst's number.
        first: number of the next burst of all processes.
        size: bursts per batch and process.
        number: of batches.
        workers: processes that read; 0: this one.
        device: where the frames are wanted.
        ranks: the processes that train.

    Yields:
        The batches.
    """

    def numbers() -> Iterator[range]:
        return islice(burst_numbers(first, size, ranks), number)

    if workers:
        # Each worker is to keep to one core. Set here and inherited: in a forked worker, OpenCV would wait for ever for
        # the threads of the parent's pool.
        cv2.setNumThreads(1)
    if isinstance(dataset, StillsInMotion) and dataset.on_device:
        source, collate = _Plans(dataset), list
        frames_of = StillsOnDevice(map(read_picture, dataset.pictures), dataset.size, device)
    else:
        source, collate = dataset, None
        frames_of = partial(Tensor.to, device=device, non_blocking=True)
    loader = DataLoader(
        source,
        batch_sampler=([burst % len(dataset) for burst in batch] for batch in numbers()),
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
        worker_init_fn=_prepare_worker,
    )
    for bursts, found in zip(numbers(), loader, strict=True):
        yield Batch(frames_of(found), [_seed_of(seed, burst) for burst in bursts])


class _Plans(Dataset[BurstPlan]):
    def __init__(self, bursts: StillsInMotion) -> None:
        self.bursts = bursts

    def __getitem__(self, index: int) -> BurstPlan:
        return self.bursts.plan(index)


def _prepare_worker(_: int) -> None:
    # A signal to the whole process group is the training process's business: it saves first, then ends its workers.
    for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(name, signal.SIG_IGN)


def _seed_of(seed: int, burst: int) -> int:
    return int(np.random.SeedSequence([seed, burst]).generate_state(1)[0])
