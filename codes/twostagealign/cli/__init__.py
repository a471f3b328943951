"""Command lines."""

from twostagealign.runtime.garbage import import_torch
from twostagealign.runtime.waiting import wait_briefly

# Here, because the modules of this folder import torch
wait_briefly()
import_torch()
