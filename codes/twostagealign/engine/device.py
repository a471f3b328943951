"""The device to compute on."""

from typing import Literal

import torch

from twostagealign.errors import UserError


def pick_device(name: Literal["auto", "cpu", "cuda"]) -> torch.device:
    """The device to compute on.

    Args:
        name: "auto" for cuda where there is one and the CPU elsewhere.

    Raises:
        UserError: cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: found no usable CUDA device, expected one for 'cuda' (use 'cpu' or 'auto')")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
