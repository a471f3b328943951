"""How the threads of a computation wait for each other."""

import os

# Each of these is the user's own choice; the first one is of any OpenMP library, the others of GNU's and of LLVM's.
_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


_SPINS = "3000"
"""Looks at a condition before a thread sleeps: microseconds."""


def wait_briefly() -> None:
    """Let OpenMP threads that wait for others soon sleep, unless the user's environment says how they wait.

    Without this, a waiting thread spins for milliseconds. Where other programs run on the same cores, it takes the core
    from the very thread that it waits for. Sleeping at once costs more on an idle machine, 7 % of a restoration. GNU's
    OpenMP library, which PyTorch brings for Linux, reads its settings when it is loaded: call this before torch is
    imported. Later calls only affect child processes.
    """
    if not any(name in os.environ for name in _CHOICES):
        os.environ["GOMP_SPINCOUNT"] = _SPINS
