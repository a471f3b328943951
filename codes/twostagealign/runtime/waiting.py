"""How the threads of a computation wait for each other."""

import os

# Each of these is the user's own choice; the first one is of any OpenMP library, the others of GNU's and of LLVM's.
_CHOICES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_passively() -> None:
    """Let OpenMP threads sleep while they wait for others, unless the user's environment says how they wait.

    Without this, a waiting thread spins. Where other programs run on the same cores, it takes the core from the very
    thread that it waits for. The OpenMP library reads its settings when it is loaded: call this before torch is
    imported. Later calls only affect child processes.
    """
    if not any(name in os.environ for name in _CHOICES):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
