import os
import subprocess
import sys
from pathlib import Path

import pytest

CODES = Path(__file__).parents[2] / "codes"
PROGRAM = """
import gc
from twostagealign.cli.run import run
print(gc.isenabled())
run(lambda: print(gc.isenabled(), gc.get_freeze_count() > 10_000))
"""


@pytest.mark.parametrize(
    ("before", "printed"), [("", ["False", "True True"]), ("import torch", ["True", "True False"])]
)
def test_a_program_searches_no_garbage_while_it_starts(before, printed) -> None:
    """A process that has imported PyTorch, such as this one or a notebook, is left alone."""
    code = f"{before}\nimport twostagealign.cli.arguments\n{PROGRAM}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(CODES)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == printed
