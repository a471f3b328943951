import os
import subprocess
import sys
from pathlib import Path

import pytest

CODES = Path(__file__).parents[2] / "codes"
SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.mark.skipif(sys.platform != "linux", reason="needs the OpenMP library of PyTorch for Linux")
@pytest.mark.parametrize(
    ("chosen", "spins"),
    [
        ({}, "3000"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "0"),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, "30000000000"),
        ({"GOMP_SPINCOUNT": "100"}, "100"),
    ],
)
def test_programs_wait_briefly_unless_the_user_chooses(chosen, spins) -> None:
    own = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    # With this variable, the OpenMP library prints the settings that it is loaded with.
    environment = own | {"PYTHONPATH": str(CODES), "OMP_DISPLAY_ENV": "VERBOSE"} | chosen
    command = [sys.executable, "-m", "twostagealign", "--version"]
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stderr
    assert f"GOMP_SPINCOUNT = '{spins}'" in shown
