"""Benchmark of block matching of whole frames against loops over patches, frames and candidates."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from twostagealign.matching import Search, hard_match
from twostagealign.restoration.tiling import Tiling
from twostagealign.studies.benchmarks.measurement import Measurement, race
from twostagealign.studies.benchmarks.subjects import FRAME_720P, FRAME_UHD, moving_features, random_features

SCALE = 4
CASES = (
    ("720p", FRAME_720P, Tiling(), Search(), 5.0),
    ("UHD", FRAME_UHD, Tiling(patch=128, halo=16), Search(128), 10.0),
)
"""Name, size of raw planes, protocol (tiling and search), and required speed-up over the loops."""


@torch.inference_mode()
def benchmark_matching(
    direct: Callable[[Tensor, Tensor, int, int], Tensor],
    cases: Sequence[tuple[str, tuple[int, int], Tiling, Search, float]] = CASES,
) -> Iterator[Measurement]:
    """Compare matching of all patches of five frames on the same feature maps.

    The maps show a moving texture. The package alone also matches maps in which no candidate can be eliminated.

    Args:
        direct: direct implementation; takes maps, origins, size and radius.
        cases: see `CASES`.
    """
    for name, frame, tiling, search, bar in cases:
        rows, columns = (torch.arange(0, side, tiling.patch) // SCALE for side in frame)
        origins = torch.cartesian_prod(rows, columns)
        args = ((tiling.patch + 2 * tiling.halo) // SCALE, search.search_window // (2 * SCALE))
        moving, unlike = (
            make_maps(int(rows[-1]) + args[0], int(columns[-1]) + args[0])
            for make_maps in (moving_features, random_features)
        )
        ours, worst, theirs = race(
            partial(hard_match, moving[None], origins[None], *args),
            partial(hard_match, unlike[None], origins[None], *args),
            partial(direct, moving, origins, *args),
        )
        yield Measurement(f"{name}, {len(origins)} patches, time", ours, "s")
        yield Measurement(f"{name}, {len(origins)} patches, direct / ours", theirs / ours, "x", at_least=bar)
        yield Measurement(f"{name}, {len(origins)} patches, time if nothing matches", worst, "s")
