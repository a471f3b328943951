"""Command lines."""

from twostagealign.runtime.waiting import wait_briefly

wait_briefly()  # here, because the modules of this folder import torch
