"""Data sets for evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from twostagealign.data.burst import NoiseLevel
from twostagealign.data.sequence import FrameSequence


class EvaluationSet(Protocol):
    """Clips to evaluate on. To add a data set, write such a class and name it in `options.registry`.

    Args:
        folder: folder of the data set.
        frames: number of frames of a burst.
        arguments: the other keys of the option file's type node.
    """

    def __init__(self, folder: Path, frames: int, **arguments: Any) -> None: ...

    @property
    def clips(self) -> Sequence[str]:
        """Names of all clips, in natural order."""
        ...

    @property
    def has_noise(self) -> bool:
        """Whether frames are stored with the noise of a camera; otherwise the evaluation adds noise."""
        ...

    def open(self, clip: str, noise: NoiseLevel | None) -> FrameSequence:
        """Open a clip.

        Args:
            clip: name of the clip.
            noise: noise level that clean frames are given; None for frames that have noise.

        Raises:
            UserError: the clip cannot be used.
        """
        ...
