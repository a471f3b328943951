"""The device to compute on, and the numbers to compute with."""

import torch

from twostagealign.runtime.errors import UserError


def pick_device(name: str) -> torch.device:
    """Return the device to compute on.

    Args:
        name: "cpu", "cuda", or "auto" for cuda if there is a usable one, else the CPU.

    Raises:
        UserError: cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("device: found no usable CUDA device, expected one for 'cuda' (use 'cpu' or 'auto')")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def pick_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype that a network computes in.

    Args:
        name: of a dtype, or "auto": bfloat16 on GPUs that are made for it (compute capability 8 and above), where it is
            several times as fast as float32; float32 elsewhere.
        device: to compute on.
    """
    if name == "auto":
        fit = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 8
        name = "bfloat16" if fit else "float32"
    return getattr(torch, name)
