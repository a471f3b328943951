"""Conversion of mosaics of any colour filter order and size to whole RGGB cells."""

import torch
from torch import Tensor

from twostagealign.isp.bayer import CFA_ORDERS


def red_position(cfa: str) -> tuple[int, int]:
    """Return how many rows and columns a mosaic needs at the top and left to start with red.

    Args:
        cfa: colours of the upper left 2 x 2 cell, one of `CFA_ORDERS`.

    Returns:
        [y, x], each 0 or 1.

    Raises:
        ValueError: the order is unknown.

    Example:
        >>> red_position("GRBG")
        (0, 1)
    """
    if cfa not in CFA_ORDERS:
        raise ValueError(f"cfa: found {cfa!r}, expected one of {', '.join(CFA_ORDERS)}")
    row, column = divmod(cfa.index("R"), 2)
    return row, column


def extend_to_rggb(mosaics: Tensor, cfa: str) -> Tensor:
    """Extend mosaics by mirrored rows and columns until they consist of whole RGGB cells.

    Mirroring about the outermost samples preserves the colour pattern.

    Args:
        mosaics: (N, height, width), any dtype, at least 2 x 2; sides may be odd.
        cfa: colours of the upper left 2 x 2 cell, one of `CFA_ORDERS`.

    Returns:
        Mosaics in RGGB order, (N, 2H, 2W); the given samples start at `red_position(cfa)`. Where nothing is missing,
        the given tensor itself.

    Raises:
        ValueError: the order is unknown.

    Source:
        Liu et al., "Learning Raw Image Denoising with Bayer Pattern Unification and Bayer Preserving Augmentation",
        CVPR Workshops 2019, section 3.1.
    """
    for dim, before in zip((-2, -1), red_position(cfa), strict=True):
        length = mosaics.shape[dim]
        after = (before + length) % 2
        if before or after:
            mosaics = torch.cat((mosaics.narrow(dim, 1, before), mosaics, mosaics.narrow(dim, length - 2, after)), dim)
    return mosaics
