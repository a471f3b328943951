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
        name: of a dtype, or "auto": bfloat16 where the device has instructions for it, float32 elsewhere.
        device: to compute on.
    """
    if name == "auto":
        name = "bfloat16" if has_bfloat16(device) else "float32"
    return getattr(torch, name)


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16. Without them, it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    if not hasattr(torch.cpu, "get_capabilities"):
        return False  # an older version of PyTorch, which cannot tell
    features = torch.cpu.get_capabilities()
    # Of x86 (AVX-512, AMX) and of ARM.
    return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
