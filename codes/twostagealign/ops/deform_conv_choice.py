"""Choice between our GPU kernels of the deformable convolution and torchvision's.

Ours are used where they have been compared with torchvision's, on this card and with these versions, and found right
and not slower. That takes seconds, once: what was found is kept in a file of the user's cache folder.
"""

import json
import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from twostagealign.ops.deform_conv_proof import Case
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular, sha256, user_cache, write_json

VARIABLE = "TSA_DEFORM_CONV"
"""Environment variable that chooses: auto, the default; torchvision; or triton, without a comparison."""

_CHOICES = ("auto", "torchvision", "triton")
_FILE = "deform_conv.json"
_MOST_BYTES = 2**20

logger = logging.getLogger(__name__)


def kernels_to_use() -> str:
    """Read what the environment chooses: "auto", "torchvision" or "triton"; UserError if it is something else."""
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in _CHOICES:
        raise UserError(f"{VARIABLE}: found {choice!r} in the environment, expected {', '.join(_CHOICES)}")
    return choice


class Verdicts:
    """What was found out about kernels, kept in a JSON file: name of a case -> its fault, or null.

    A damaged file is ignored, and replaced at the next finding. Where none can be written, every process finds out for
    itself.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._faults = _read(path)
        self._said: set[str] = set()

    def is_good(self, case: str, find_fault: Callable[[], str | None]) -> bool:
        """Whether a case has no fault. The first time that a process meets a fault, it logs a warning.

        Args:
            case: name of the case.
            find_fault: looks for a fault, if that is not known yet.
        """
        if case not in self._faults:
            self._faults[case] = find_fault()
            self._write()
        fault = self._faults[case]
        if fault is not None and fault not in self._said:
            self._said.add(fault)
            logger.warning("deformable convolution: torchvision's kernels are used, since ours %s (%s)", fault, case)
        return fault is None

    def _write(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, _read(self.path) | self._faults)  # other processes find out, too
        except (OSError, UserError) as error:
            logger.info("%s: cannot be written (%s)", self.path, error)


def _read(path: Path) -> dict[str, str | None]:
    try:
        content = json.loads(read_regular(path, _MOST_BYTES, "verdicts"))
    except (UserError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or not all(fault is None or isinstance(fault, str) for fault in content.values()):
        return {}
    return content


def is_proven(case: Case, find_fault: Callable[[], str | None]) -> bool:
    """Whether our kernels are right and not slower for this kind of call, on this card, with these versions.

    Args:
        case: kind of call.
        find_fault: compares them, if that has not been done yet; see `deform_conv_proof.find_fault`.
    """
    verdicts = _verdicts(user_cache() / _FILE)
    return verdicts.is_good(f"{_machine(case.device)}; {_name(case)}", find_fault)


@cache
def _verdicts(path: Path) -> Verdicts:
    return Verdicts(path)


@cache
def _machine(device: torch.device) -> str:
    """The card, and versions of all that makes kernels."""
    import torchvision
    import triton

    card = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    sources = [Path(__file__).with_name(f"deform_conv_{name}.py") for name in ("kernels", "triton")]
    ours = "".join(sha256(path)[:8] for path in sources)
    versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, triton {triton.__version__}"
    return f"{card}, {versions}, ours {ours}"


def _name(case: Case) -> str:
    dtype = str(case.dtype).removeprefix("torch.")
    precision = f" ({case.precision})" if case.dtype == torch.float32 else ""
    passes = "with gradients" if case.gradients else "without gradients"
    return f"{dtype}{precision}, {case.channels} to {case.out_channels} channels, {case.groups} groups, {passes}"
