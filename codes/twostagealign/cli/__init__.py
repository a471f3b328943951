"""Command lines."""

from twostagealign.runtime.waiting import wait_passively

wait_passively()  # here, because the modules of this folder import torch
