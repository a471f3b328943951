"""Bursts for training and clips for evaluation: moving waves."""

from pathlib import Path

import torch
from torch import Tensor

from twostagealign.api.extending import DATASETS, EVALUATION_SETS, ClipInMemory, NoiseLevel


def wave(number: int, frames: int, size: int) -> Tensor:
    """A clean burst, (frames, 3, size, size) uint8, which is a function of its number."""
    steps = torch.arange(size)
    phase = steps[:, None] + (1 + number) * steps + 2 * torch.arange(frames)[:, None, None]
    return ((phase * 0.2).sin() * 100 + 128).byte()[:, None].repeat(1, 3, 1, 1)


@DATASETS.register
class Waves:
    """A `TrainingSet`.

    Args:
        first: number of the first wave.
        length: number of waves.
        frames: frames of a burst.
        size: side of a frame, RGB pixels.
    """

    def __init__(self, first: int = 0, length: int = 8, frames: int = 3, size: int = 48) -> None:
        self.numbers, self.frames, self.size = range(first, first + length), frames, size
        self.origin = Path("waves")
        self.contents = [str(number) for number in self.numbers]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Tensor:
        return wave(self.numbers[index], self.frames, self.size)

    def clip(self, index: int) -> str:
        """Name of the wave of a burst."""
        return self.contents[index]

    def fingerprint(self, name: str) -> bytes:
        """The number of the wave, since it is all that makes a wave."""
        return name.encode()


@EVALUATION_SETS.register
class WaveClips:
    """An `EvaluationSet` of clean clips, which the evaluation degrades.

    Args:
        folder: not used, as there are no files.
        frames: frames of a burst.
        size: side of a frame, RGB pixels.
    """

    has_noise = False
    clips = ("0", "1")

    def __init__(self, folder: Path, frames: int, size: int = 48) -> None:
        self.frames, self.size = frames, size

    def open(self, clip: str, noise: NoiseLevel | None) -> ClipInMemory:
        """Open a clip at a noise level."""
        assert noise is not None
        return ClipInMemory(clip, wave(int(clip), self.frames, self.size), noise)
