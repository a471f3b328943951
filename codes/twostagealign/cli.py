"""What every entry point needs: errors for people, a device, a folder for results."""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn

import torch

from twostagealign.errors import UserError


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call an entry point's main function and exit.

    The exit code is what `main` returns (None: 0); 2 for a `UserError`, which is printed on stderr as one line
    `error: ...`; 130 when interrupted from the keyboard; 141 when the reader of the output has gone (`... | head`).
    Any other exception is a bug and propagates with its traceback.
    """
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        # A UserError of a data-loading process arrives wrapped in that process's traceback; its own text comes last.
        text = (str(error).strip().splitlines() or [""])[-1]
        print(f"error: {text.removeprefix('twostagealign.errors.UserError: ')}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out; without this it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(status)


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to compute on.

    Args:
        name: "auto" for cuda where there is one and the CPU elsewhere.

    Raises:
        UserError: cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: found no usable CUDA device, expected one for 'cuda' (use 'cpu' or 'auto')")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def output_folder(path: Path) -> Path:
    """Create a folder, with its parents, and make sure that files can be written there.

    Returns:
        The path as given.

    Raises:
        UserError: it cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path) as trial:
            trial.write(b"trial")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, expected a folder that can be written to") from error
    return path
