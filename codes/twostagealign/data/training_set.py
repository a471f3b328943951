"""Protocol of data sets for training and validation, and the check that the two share no picture."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from twostagealign.runtime.errors import UserError


class TrainingSet(Protocol):
    """Clean bursts for training or validation.

    docs/EXTENDING.md shows how to add one.
    """

    def __len__(self) -> int:
        """Number of bursts."""
        ...

    def __getitem__(self, index: int) -> Tensor:
        """Burst `index`: clean sRGB frames, (N, 3, 2H, 2W) uint8."""
        ...

    def clip(self, index: int) -> str:
        """Name of the picture or clip that burst `index` is from."""
        ...

    @property
    def origin(self) -> Path:
        """Folder or file of all pictures. In one origin, pictures of different names are different pictures."""
        ...

    @property
    def contents(self) -> Sequence[str]:
        """Names of all pictures or clips that bursts may show."""
        ...

    def fingerprint(self, name: str) -> bytes:
        """Digest of one of `contents`, equal for equal pictures, whatever their names and files; see `fingerprint`.

        Called from several threads.

        Raises:
            UserError: the picture cannot be read.
        """
        ...


@runtime_checkable
class MadeOnDevice(Protocol):
    """A data set that can make the bursts of a batch on the device, out of small plans that workers draw."""

    def plan(self, index: int) -> Any:
        """All that is random about burst `index`."""
        ...

    def on_device(self, device: torch.device) -> Callable[[Sequence[Any]], Tensor] | None:
        """Return the function that makes bursts of plans, (B, N, 3, 2H, 2W) uint8 on the device; None: read them."""
        ...


def fingerprint(picture: np.ndarray) -> bytes:
    """Digest of the middle of an RGB picture, at most 128 pixels wide and high: enough to tell pictures apart."""
    height, width = picture.shape[:2]
    top, left = max(height // 2 - 64, 0), max(width // 2 - 64, 0)
    middle = picture[top : height // 2 + 64, left : width // 2 + 64]
    return hashlib.sha256(np.ascontiguousarray(middle).tobytes()).digest()


def check_no_overlap(training: TrainingSet, validation: TrainingSet) -> None:
    """Refuse a validation set that shares pictures or clips with the training set.

    Within one origin, names are compared. Across origins, such as the training clips in an LMDB and the validation
    clips in folders, contents are compared.
    """
    if training.origin == validation.origin:
        shared = sorted(set(training.contents) & set(validation.contents))
    else:
        with ThreadPoolExecutor() as pool:
            known = set(pool.map(training.fingerprint, training.contents))
            found = list(pool.map(validation.fingerprint, validation.contents))
        shared = [name for name, digest in zip(validation.contents, found, strict=True) if digest in known]
    if shared:
        names = ", ".join(shared[:5]) + (f" and {len(shared) - 5} more" if len(shared) > 5 else "")
        raise UserError(
            f"datasets.val: {names} of {validation.origin} are in the training set ({training.origin}) too; "
            "exclude them there, or validate on others"
        )
