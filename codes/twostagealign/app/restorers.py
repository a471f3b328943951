"""Checkpoints that have been loaded."""

from collections.abc import Sequence
from typing import Literal

import twostagealign as tsa

Device = Literal["auto", "cpu", "cuda"]


class Restorers:
    """Loads checkpoints when they are first used.

    Args:
        names: names or files of the checkpoints that can be chosen.
        device: "auto", "cpu" or "cuda".
    """

    def __init__(self, names: Sequence[str], device: Device) -> None:
        self.names = names
        self._device = device
        self._loaded: dict[str, tsa.Restorer] = {}

    def load(self, name: str) -> tsa.Restorer:
        """Load a checkpoint, one of `names`, or return the one that was loaded before."""
        if name not in self._loaded:
            self._loaded[name] = tsa.load(name, self._device)
        return self._loaded[name]
