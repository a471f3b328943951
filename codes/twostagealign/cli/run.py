"""What every entry point needs: one-line errors, exit codes, and memory that is used again."""

import io
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from twostagealign.runtime.errors import JobError, UserError
from twostagealign.runtime.memory import keep_freed_memory


def run(main: Callable[[], int | None]) -> NoReturn:
    """Call an entry point's main function and exit.

    The exit code is what `main` returns (None: 0); 2 for a `UserError`, which is printed on stderr as one line
    `error: ...`; 130 when interrupted from the keyboard; 141 when the reader of the output has gone (`... | head`).
    Of several processes, the first one alone prints a `UserError`; any process prints a `JobError`.
    Any other exception is a bug and propagates with its traceback.
    """
    keep_freed_memory()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that the terminal's encoding lacks
    try:
        status = main()
        sys.stdout.flush()
    except UserError as error:
        if not isinstance(error, JobError) and os.environ.get("RANK", "0") != "0":
            sys.exit(2)  # the first process prints the same
        # A UserError of a data-loading process arrives wrapped in that process's traceback; its own text comes last.
        text = str(error).rpartition("twostagealign.runtime.errors.UserError: ")[2].strip()
        print(f"error: {text}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The interpreter flushes stdout once more on its way out; without this it would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(status)
