"""Sequences of raw frames, the windows of frames that are restored together, and bursts read from them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from twostagealign.data.burst import Burst, NoiseLevel, RawFrame
from twostagealign.data.metadata import FrameMetadata
from twostagealign.data.read_ahead import read_ahead
from twostagealign.isp import Camera

PADDINGS = ("replicate", "reflection", "new_info", "circle")


@dataclass(frozen=True)
class FrameSequence(ABC):
    """Consecutive raw frames of one size: a clip degraded by the test protocol, a scene, or a folder of raw files.

    Attributes:
        name: name of the sequence.
        frames: names of the frames.
        size: height and width of the raw planes.
    """

    name: str
    frames: Sequence[str]
    size: tuple[int, int]

    @property
    def references(self) -> Sequence[int]:
        """Indices of the frames that can be restored."""
        return range(len(self.frames))

    @abstractmethod
    def metadata(self, index: int) -> FrameMetadata:
        """Return what is known about a frame. Its file has been read when the sequence was opened."""

    @abstractmethod
    def read(self, index: int) -> RawFrame:
        """Read a frame; UserError if its file cannot be used. Called from several threads."""

    def check(self, index: int) -> None:
        """Read the file of a frame; UserError if it cannot be used."""
        self.read(index)

    def burst(self, window: Sequence[int], frames: Sequence[RawFrame]) -> Burst:
        """Make a burst of frames that have been read, with the colours of its reference frame.

        Args:
            window: index of each frame.
            frames: the frames, in the order of `window`.
        """
        return Burst(frames, self.metadata(window[len(window) // 2]).camera)

    def finish(self, picture: np.ndarray, index: int) -> np.ndarray:
        """Crop and turn a restored picture to what was photographed. The result is a view of the picture.

        Args:
            picture: (2H, 2W) or (2H, 2W, 3).
            index: index of the frame that was restored.
        """
        return picture


@dataclass(frozen=True)
class UniformSequence(FrameSequence):
    """A `FrameSequence` whose frames have one description.

    Attributes:
        camera: colour metadata of all frames, a batch of one.
        noise: noise of all frames.
    """

    camera: Camera
    noise: NoiseLevel

    def metadata(self, index: int) -> FrameMetadata:
        """Return colours and noise, which are the same for every frame."""
        return FrameMetadata(self.camera, self.noise)


def read_burst(sequence: FrameSequence, window: Sequence[int]) -> Burst:
    """Read the burst of a window, such as from `frame_window`; a frame that is in it twice is read once."""
    frames = {index: sequence.read(index) for index in dict.fromkeys(window)}
    return sequence.burst(window, [frames[index] for index in window])


def read_bursts(sequence: FrameSequence, windows: Sequence[Sequence[int]], workers: int = 1) -> Iterator[Burst]:
    """Read the bursts of consecutive windows, each one while the burst before it is being worked on.

    A frame that neighbouring windows share is read once. Frames of two windows at most are in memory.

    Args:
        sequence: the frames.
        windows: for each burst, the indices of its frames.
        workers: number of threads that read; 0: no frame is read before its burst's turn.

    Yields:
        The bursts.
    """
    for window, frames in zip(windows, read_ahead(windows, sequence.read, workers), strict=True):
        yield sequence.burst(window, [frame.result() for frame in frames])


def frame_window(center: int, count: int, frames: int, padding: str = "new_info") -> list[int]:
    """Choose the frames of a clip that make the burst around one of them.

    Where the window leaves the clip, the missing frames are

    - "replicate": the first or the last frame of the clip again,
    - "reflection": the clip mirrored at that frame,
    - "new_info": the frames that follow the window on its other side, the outermost first, so that none appears twice,
    - "circle": the same frames in the order of the clip.

    Args:
        center: index of the reference frame, from 0.
        count: number of frames in the clip.
        frames: length N of the window; where it is even, it reaches one frame further back than ahead.
        padding: one of `PADDINGS`.

    Returns:
        N indices; the reference frame is entry N // 2.

    Raises:
        ValueError: if an argument is out of its range, or the clip is too short for this window and padding.

    Example:
        >>> frame_window(0, count=7, frames=5)
        [4, 3, 0, 1, 2]
    """
    if padding not in PADDINGS:
        raise ValueError(f"padding: found {padding!r}, expected one of {', '.join(PADDINGS)}")
    if frames < 1:
        raise ValueError(f"frames: found {frames}, expected at least 1")
    if not 0 <= center < count:
        raise ValueError(f"center: found {center}, expected 0 to {count - 1}, an index into {count} frames")
    back, ahead = frames // 2, frames - 1 - frames // 2
    needed = {"replicate": 1, "reflection": back + 1, "new_info": frames, "circle": frames}[padding]
    if count < needed:
        raise ValueError(
            f"count: found a clip of {count} frames, expected at least {needed} "
            f"for a window of {frames} with padding {padding!r}; 'replicate' works with any clip"
        )
    last = count - 1

    def inside(i: int) -> int:
        if 0 <= i <= last:
            return i
        if padding == "replicate":
            return 0 if i < 0 else last
        if padding == "reflection":
            return -i if i < 0 else 2 * last - i
        if padding == "new_info":
            return center + ahead - i if i < 0 else center - back - (i - last)
        return i + frames if i < 0 else i - frames

    return [inside(i) for i in range(center - back, center + ahead + 1)]
