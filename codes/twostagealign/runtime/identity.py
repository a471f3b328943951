"""Identity of a job whose results are in a folder: what a resumed one must have in common with the one before."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular

_MOST_BYTES = 2**24


def identity_digest(identity: Mapping[str, Any]) -> str:
    """SHA-256, in hexadecimal, of the JSON values that describe data, checkpoints and settings of a job."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def check_identity(
    path: Path, identity: Mapping[str, Any], other: str, earlier: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Check that a job that is resumed is the one that a folder belongs to.

    Args:
        path: file of the identity, in the folder.
        identity: JSON values that describe data, checkpoints and settings of the job.
        other: option that gives the job another folder, for errors.
        earlier: settings of earlier versions of the program, whose files do not hold them.

    Returns:
        Content of the file.

    Raises:
        UserError: the file is damaged, or a value differs.
    """
    content = read_regular(path, _MOST_BYTES, "the settings of a job")
    try:
        before = json.loads(content)
        damaged = not isinstance(before, dict)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, numbers or lists that Python does not read
        damaged = True
    if damaged:
        raise UserError(f"{path}: damaged, so --resume cannot tell which settings were used; use another {other}")
    known = {**(earlier or {}), **before}
    for key, value in json.loads(json.dumps(identity)).items():
        if known.get(key) != value:
            raise UserError(
                f"--resume: {path.parent} was made with {key} {json.dumps(known.get(key)):.300}, found "
                f"{json.dumps(value)}; use the same settings, or another {other}"
            )
    return before
