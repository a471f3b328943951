import os
import subprocess
import sys
from pathlib import Path

import pytest

CODES = Path(__file__).parents[2] / "codes"
PROGRAM = """
import twostagealign.cli
import gc, sys
print("torch" in sys.modules, gc.isenabled(), gc.get_freeze_count() > 10_000)
"""


@pytest.mark.parametrize(("before", "frozen"), [("", True), ("import torch", False)])
def test_garbage_is_not_searched_among_what_the_import_of_torch_makes(before: str, frozen: bool) -> None:
    """The search goes on for everything else. A process that has imported PyTorch before is left alone."""
    environment = os.environ | {"PYTHONPATH": str(CODES)}
    command = [sys.executable, "-c", before + PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", str(frozen)]
