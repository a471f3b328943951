"""Training batches: which bursts a process trains on, and in what order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from twostagealign.data import MadeOnDevice, TrainingSet
from twostagealign.runtime.ranks import Ranks
from twostagealign.training.stop import SIGNALS


@dataclass(frozen=True)
class Batch:
    """Bursts that go through the network together.

    Attributes:
        frames: clean sRGB, uint8, (B, N, 3, 2H, 2W), on the device.
        seeds: seed of the degradation of each burst.
    """

    frames: Tensor
    seeds: list[int]


def burst_numbers(first: int, size: int, ranks: Ranks) -> Iterator[range]:
    """Numbers of the bursts in each batch of this process, endless.

    The bursts of a run are numbered batch after batch, and within a batch of all processes rank after rank. A step thus
    has the same bursts, however many processes share them.

    Args:
        first: number of the next burst of all processes.
        size: bursts per batch and process.
        ranks: the processes.
    """
    for start in count(first + ranks.rank * size, size * ranks.count):
        yield range(start, start + size)


def training_batches(
    dataset: TrainingSet,
    seed: int,
    first: int,
    size: int,
    number: int,
    workers: int,
    device: torch.device,
    ranks: Ranks,
) -> Iterator[Batch]:
    """Read this process's batches ahead, in worker processes.

    If the data set makes its bursts on the device, workers only draw their plans; this process makes the frames when
    they are asked for.

    Args:
        dataset: clean bursts. Burst i is a function of the data set's own seed and of i; after the last burst the first
            follows again.
        seed: the seed of a burst's degradation is a function of this and of the burst's number.
        first: number of the next burst of all processes.
        size: bursts per batch and process.
        number: number of batches.
        workers: number of worker processes; 0: this process reads.
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
    source: Any = dataset  # a DataLoader reads any object with a length and items
    frames_of: Callable[[Any], Tensor] = partial(Tensor.to, device=device, non_blocking=True)
    plans = False
    if isinstance(dataset, MadeOnDevice) and (made_on_device := dataset.on_device(device)):
        source, plans, frames_of = _Plans(dataset), True, made_on_device
    loader = DataLoader(
        source,
        batch_sampler=([burst % len(dataset) for burst in batch] for batch in numbers()),
        num_workers=workers,
        collate_fn=list if plans else None,
        pin_memory=device.type == "cuda",
        prefetch_factor=4 if workers else None,
        worker_init_fn=_prepare_worker,
    )
    for bursts, found in zip(numbers(), loader, strict=True):
        yield Batch(frames_of(found), [_seed_of(seed, burst) for burst in bursts])


@dataclass(frozen=True)
class TrainingBursts:
    """The bursts that a run trains on, step by step.

    Attributes:
        dataset: clean bursts; see `training_batches`.
        seed: seed of all degradations.
        batch_size: bursts per batch and process.
        accumulate: batches per step.
        workers: number of worker processes.
        device: where the frames are wanted.
        ranks: the processes that train.
    """

    dataset: TrainingSet
    seed: int
    batch_size: int
    accumulate: int
    workers: int
    device: torch.device
    ranks: Ranks

    @property
    def per_step(self) -> int:
        """Bursts per step of all processes."""
        return self.batch_size * self.accumulate * self.ranks.count

    def steps(self, first: int, number: int) -> Iterator[list[Batch]]:
        """The batches of each step of this process.

        Args:
            first: number of the next burst of all processes.
            number: number of steps.
        """
        batches = training_batches(
            self.dataset,
            self.seed,
            first,
            self.batch_size,
            number * self.accumulate,
            self.workers,
            self.device,
            self.ranks,
        )
        for _ in range(number):
            yield list(islice(batches, self.accumulate))


class _Plans(Dataset[Any]):
    def __init__(self, bursts: MadeOnDevice) -> None:
        self.bursts = bursts

    def __getitem__(self, index: int) -> Any:
        return self.bursts.plan(index)


def _prepare_worker(_: int) -> None:
    # A signal to the whole process group is the training process's business: it saves first, then ends its workers.
    for number in (*SIGNALS, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _seed_of(seed: int, burst: int) -> int:
    return int(np.random.SeedSequence([seed, burst]).generate_state(1)[0])
