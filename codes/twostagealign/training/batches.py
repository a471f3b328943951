"""Training batches: which bursts a process trains on, and in what order."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from twostagealign.data import MadeOnDevice, TrainingSet, frame_window
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


@dataclass(frozen=True)
class TrainingBursts:
    """The bursts that a run trains on, step by step.

    The bursts of a run are numbered batch after batch, and within a batch of all processes rank after rank. A step thus
    has the same bursts, however many processes share them.

    Attributes:
        dataset: clean bursts. Burst i is a function of the data set's own seed and of i; after the last burst the first
            follows again.
        seed: the seed of a burst's degradation is a function of this and of the burst's number.
        batch_size: bursts per batch and process.
        accumulate: batches per step.
        workers: number of worker processes that read ahead; 0: this process reads.
        device: device of the frames.
        ranks: the processes that train.
        lengths: numbers of frames that a step's bursts may have, each with the height and width, RGB pixels, of the
            middle part that is then used; every number is as likely. None: all of every burst.
    """

    dataset: TrainingSet
    seed: int
    batch_size: int
    accumulate: int
    workers: int
    device: torch.device
    ranks: Ranks
    lengths: Mapping[int, int] | None = None

    @property
    def per_step(self) -> int:
        """Bursts per step of all processes."""
        return self.batch_size * self.accumulate * self.ranks.count

    def steps(self, first: int, number: int) -> Iterator[list[Batch]]:
        """Yield the batches of each step of this process.

        Args:
            first: number of the next burst of all processes.
            number: number of steps.
        """
        batches = self._batches(first, number * self.accumulate)
        for _ in range(number):
            yield list(islice(batches, self.accumulate))

    def _batches(self, first: int, number: int) -> Iterator[Batch]:
        """Read batches ahead. Of bursts that are made on the device, the workers only draw the plans."""
        size, stride = self.batch_size, self.batch_size * self.ranks.count
        start = first + self.ranks.rank * size
        starts = range(start, start + number * stride, stride)
        if self.workers:
            # Each worker is to keep to one core. Set here and inherited: in a forked worker, OpenCV would wait for ever
            # for the threads of the parent's pool.
            cv2.setNumThreads(1)
        source: Any = self.dataset  # a DataLoader reads any object with a length and items
        frames_of: Callable[[Any], Tensor] = partial(Tensor.to, device=self.device, non_blocking=True)
        collate = None
        if isinstance(self.dataset, MadeOnDevice) and (made_on_device := self.dataset.on_device(self.device)):
            source, frames_of, collate = _Plans(self.dataset), made_on_device, list
        loader = DataLoader(
            source,
            batch_sampler=([burst % len(self.dataset) for burst in range(start, start + size)] for start in starts),
            num_workers=self.workers,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            prefetch_factor=4 if self.workers else None,
            worker_init_fn=_prepare_worker,
        )
        for number, (start, bursts) in enumerate(zip(starts, loader, strict=True)):
            step = first + number // self.accumulate * self.per_step
            frames = self._shorten(frames_of(bursts), step)
            yield Batch(frames, [_seed_of(self.seed, burst) for burst in range(start, start + size)])

    def _shorten(self, frames: Tensor, step: int) -> Tensor:
        """Draw the number of frames of the step that begins with this burst, and cut (B, N, 3, 2H, 2W) accordingly."""
        if self.lengths is None:
            return frames
        count, (height, width) = frames.shape[1], frames.shape[-2:]
        draw = np.random.default_rng([self.seed, step, 2])
        number, side = list(self.lengths.items())[int(draw.integers(len(self.lengths)))]
        # An even number of raw pixels is left out on each side: the colours stay in their places.
        top, left = ((length - side) // 4 * 2 for length in (height, width))
        return frames[:, frame_window(count // 2, count, number), :, top : top + side, left : left + side]


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
