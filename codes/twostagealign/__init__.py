"""Burst denoising and demosaicking with two-stage alignment (Guo et al., CVPR 2022).

The names in `__all__` are the public interface; docs/API.md shows how to use them. They are imported when they are
first used, so that programs start fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twostagealign.api import (
        EXAMPLES,
        FAST,
        PICTURE_SUFFIXES,
        RAW_SUFFIXES,
        CameraProfile,
        Comparison,
        Look,
        NoiseLevel,
        Quality,
        RawBurst,
        Restorer,
        Result,
        Search,
        ShippedModel,
        Tiling,
        UserError,
        burst_from_arrays,
        example,
        list_models,
        load,
        psnr,
        read_burst,
        simulate,
        ssim,
    )

__version__ = "0.1.0"

__all__ = [
    "EXAMPLES",
    "FAST",
    "PICTURE_SUFFIXES",
    "RAW_SUFFIXES",
    "CameraProfile",
    "Comparison",
    "Look",
    "NoiseLevel",
    "Quality",
    "RawBurst",
    "Restorer",
    "Result",
    "Search",
    "ShippedModel",
    "Tiling",
    "UserError",
    "burst_from_arrays",
    "example",
    "list_models",
    "load",
    "psnr",
    "read_burst",
    "simulate",
    "ssim",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from twostagealign import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
