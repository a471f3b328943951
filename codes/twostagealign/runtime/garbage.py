"""Python's search for garbage while a program starts and ends."""

import gc
import sys
from importlib import import_module


def import_torch() -> None:
    """Import PyTorch without searching for garbage meanwhile, or later among what the import has made.

    All of it stays until the program ends. Searching it costs time during the import, and again when the
    program ends. Without effect where PyTorch has been imported before, as in a notebook.
    """
    if "torch" in sys.modules or not gc.isenabled():
        return
    gc.disable()
    try:
        import_module("torch")
        gc.freeze()
    finally:
        gc.enable()
