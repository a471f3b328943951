"""Command lines."""

from twostagealign.runtime.garbage import pause_search
from twostagealign.runtime.waiting import wait_briefly

# Here, because the modules of this folder import torch
wait_briefly()
pause_search()
