"""Data sets for evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from twostagealign.data.burst import NoiseLevel
from twostagealign.data.sequence import UniformSequence


class EvaluationSet(Protocol):
    """Clips to evaluate on. docs/EXTENDING.md shows how to add such a data set.

    Args:
        folder: folder of the data set.
        frames: number of frames of a burst.
        arguments: the other keys of the option file's type node.

    Attributes:
        clips: names of all clips, in natural order.
        has_noise: whether frames are stored with the noise of a camera; otherwise the evaluation adds noise.
    """

    clips: Sequence[str]
    has_noise: bool

    def __init__(self, folder: Path, frames: int, **arguments: Any) -> None: ...

    def open(self, clip: str, noise: NoiseLevel | None) -> UniformSequence:
        """Open a clip, at a noise level where frames are clean; UserError if it cannot be used."""
        ...
