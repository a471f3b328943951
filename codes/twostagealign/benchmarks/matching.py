"""Block matching of whole frames against loops over patches, frames and candidates."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from twostagealign.archs import hard_match
from twostagealign.benchmarks.measurement import Measurement, race
from twostagealign.benchmarks.subjects import FRAME_720P, FRAME_UHD, moving_features, random_features
from twostagealign.engine.tiling import Tiling

SCALE = 4
CASES = (
    ("720p", FRAME_720P, Tiling(), 5.0),
    ("UHD", FRAME_UHD, Tiling(patch=128, halo=16, search_window=128), 10.0),
)
"""Name, size of raw planes, protocol, and how many times faster than the loops it has to be."""


@torch.inference_mode()
def benchmark_matching(
    direct: Callable[[Tensor, Tensor, int, int], Tensor],
    cases: Sequence[tuple[str, tuple[int, int], Tiling, float]] = CASES,
) -> Iterator[Measurement]:
    """Compare matching of all patches of five frames, both ways on the same feature maps.

    Args:
        direct: the loops; takes maps, origins, size and radius.
        cases: what to match: a moving texture, and, without a bar, maps in which nothing can be eliminated.
    """
    for name, frame, tiling, bar in cases:
        rows, columns = (torch.arange(0, side, tiling.patch) // SCALE for side in frame)
        origins = torch.cartesian_prod(rows, columns)
        size = (tiling.patch + 2 * tiling.halo) // SCALE
        args = (size, tiling.search_window // (2 * SCALE))
        for subject, make_maps, least in (("", moving_features, bar), (", random maps", random_features, None)):
            maps = make_maps(int(rows[-1]) + size, int(columns[-1]) + size)
            ours, theirs = race(
                lambda maps=maps, args=args, origins=origins: hard_match(maps[None], origins[None], *args),
                lambda maps=maps, args=args, origins=origins: direct(maps, origins, *args),
            )
            case = f"{name}{subject}, {len(origins)} patches"
            yield Measurement(f"{case}, time", ours, "s")
            yield Measurement(f"{case}, direct / ours", theirs / ours, "x", at_least=least)
