"""What is known of the frames that neighbouring bursts share, so that it is computed once."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from twostagealign.data.burst import RawFrame
from twostagealign.matching import FrameMaps

T = TypeVar("T")


class FrameMemory:
    """Frames of the latest burst, on the device, and the maps that they are matched by.

    What is not in the next burst is forgotten when that is loaded: memory is that of one burst.

    Args:
        keeps: False remembers nothing: for a single burst.
    """

    def __init__(self, keeps: bool = True) -> None:
        self.keeps = keeps
        self._known: list[tuple[RawFrame, RawFrame]] = []
        self._maps: list[tuple[RawFrame, FrameMaps]] = []

    def load(self, frames: Sequence[RawFrame], device: torch.device) -> list[RawFrame]:
        """Copy the frames of a burst to a device, unless they are there."""
        known = [(frame, _find(self._known, frame) or frame.to(device)) for frame in frames]
        loaded = [copy for _, copy in known]
        if self.keeps:
            self._known = known
            self._maps = [entry for entry in self._maps if any(_is_same(entry[0], frame) for frame in loaded)]
        return loaded

    def describe(self, frame: RawFrame, make: Callable[[], FrameMaps]) -> FrameMaps:
        """Return the maps of a loaded frame, which are made if they are not known."""
        maps = _find(self._maps, frame)
        if maps is None:
            maps = make()
            if self.keeps:
                self._maps.append((frame, maps))
        return maps


def _find(known: Sequence[tuple[RawFrame, T]], frame: RawFrame) -> T | None:
    return next((value for other, value in known if _is_same(other, frame)), None)


def _is_same(a: RawFrame, b: RawFrame) -> bool:
    """Whether both show the same samples, also in the exposure that they are brought to."""
    return a.planes is b.planes and a.gain == b.gain
