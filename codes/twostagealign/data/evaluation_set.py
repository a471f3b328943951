"""What an evaluation needs of a data set: clips of raw frames, with ground truth or without."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from twostagealign.isp import Camera


@dataclass(frozen=True)
class NoiseLevel:
    """Noise of a known strength.

    Attributes:
        name: what it is called in tables and file names.
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.
    """

    name: str
    shot: float
    read: float


@dataclass(frozen=True)
class RawFrame:
    """A noisy raw frame and where it came from.

    Attributes:
        raw: noisy raw planes, (4, H, W), float32 in [0, 1].
        clean: the picture that was degraded, (3, 2H, 2W) uint8; None for a frame from a real camera.
    """

    raw: Tensor
    clean: Tensor | None


class EvaluationClip(Protocol):
    """Frames that bursts are taken from.

    Attributes:
        name: of the clip.
        frames: names of its frames.
        references: indices of those that can be restored.
        size: height and width of the raw planes.
        camera: colour metadata, a batch of one.
        noise: of the frames as they are stored; None where the evaluation adds the noise.
    """

    name: str
    frames: Sequence[str]
    references: Sequence[int]
    size: tuple[int, int]
    camera: Camera
    noise: NoiseLevel | None

    def check(self, index: int) -> None:
        """Read the file of a frame.

        Raises:
            UserError: it cannot be used.
        """
        ...

    def read(self, index: int, noise: NoiseLevel) -> RawFrame:
        """Read a frame and, where frames are stored clean, degrade it. Called from several threads.

        Raises:
            UserError: its file cannot be used.
        """
        ...

    def target(self, frame: RawFrame) -> Tensor | None:
        """Linear camera RGB without noise, (3, 2H, 2W); None where it is not known."""
        ...


class EvaluationSet(Protocol):
    """Clips to evaluate on. To add a data set, write such a class and name it in `options.registry`.

    The constructor takes the data set's `folder: Path`, the length of a burst, `frames: int`, and what the option file
    says beside `type`.

    Attributes:
        clips: names of all clips, sorted.
    """

    clips: Sequence[str]

    def open(self, clip: str) -> EvaluationClip:
        """Open a clip.

        Raises:
            UserError: it cannot be used.
        """
        ...
