"""Python's search for garbage while a program starts and ends."""

import gc
import sys


def pause_search() -> None:
    """Do not search for garbage until `resume_search`; without effect where PyTorch has been imported before.

    Importing PyTorch makes some hundred thousand objects, all of which stay. Searching them again and again takes a
    sixth of the time of the import.
    """
    if "torch" not in sys.modules:
        gc.disable()


def resume_search() -> None:
    """Search for garbage again, but not among the objects that a paused program has made: they stay until it ends."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
