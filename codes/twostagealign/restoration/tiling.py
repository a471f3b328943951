"""How a frame is divided into tiles, and the command line's options for it."""

import math
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from twostagealign.runtime.errors import UserError


@dataclass(frozen=True)
class Tiling:
    """How a frame is divided; all sizes in raw pixels.

    Attributes:
        patch: side of what is matched by itself, a multiple of 4.
        halo: what a tile sees beyond its border on each side, a multiple of 4.
        search_window: width of the window that a patch is searched in from frame to frame, a multiple of 16: then the
            place that the search starts from is itself searched.
        batch: tiles that are restored at once; bounds the memory. None: see `restoration.tile_network.tiles_at_once`.
        group: patches on each side of a tile that is restored as a whole; above 1 they share its halo.
        overlap: what is kept of the halo on each side and blended with the neighbouring tile, against seams; a multiple
            of 4, at most the halo.
        block_matching: False leaves stage one out: every patch stays where it is in the reference frame.
        inclusive_search: False leaves out the last row and column of the candidate positions, as the released code
            does.

    Raises:
        ValueError: a size is out of range or no such multiple.
    """

    patch: int = 64
    halo: int = 4
    search_window: int = 48
    batch: int | None = None
    group: int = 1
    overlap: int = 0
    block_matching: bool = True
    inclusive_search: bool = True

    def __post_init__(self) -> None:
        for name, most in (("patch", 4096), ("halo", 1024), ("search_window", 1024), ("batch", 4096), ("group", 256)):
            if (getattr(self, name) or 0) > most:
                raise ValueError(f"{name}: found {getattr(self, name)}, expected at most {most}")
        for name, least, unit in (("patch", 4, 4), ("halo", 0, 4), ("search_window", 16, 16), ("overlap", 0, 4)):
            value = getattr(self, name)
            if value < least or value % unit:
                raise ValueError(f"{name}: found {value}, expected a multiple of {unit}, at least {least}")
        if self.overlap > min(self.halo, self.patch // 2):
            most = min(self.halo, self.patch // 2)
            raise ValueError(f"overlap: found {self.overlap}, expected at most {most}, the halo and half the patch")
        for name in ("batch", "group"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: found {value}, expected at least 1")


FAST = Tiling(patch=40, group=5, overlap=4)
"""What `--fast` stands for: large tiles, of which the halo is a small part; their patches are matched as usual."""


def add_tiling_arguments(parser: ArgumentParser) -> None:
    """Give a command line `--fast` and an option for every field of `Tiling`, None unless it is given."""
    parser.add_argument("--fast", action="store_true", help="larger tiles: less time at about the same quality")
    for field in fields(Tiling):
        flag, meaning = field.name.replace("_", "-"), _MEANING[field.name]
        if field.type is bool:
            parser.add_argument(f"--no-{flag}", dest=field.name, action="store_const", const=False, help=meaning)
            continue
        fast = getattr(FAST, field.name)
        default = f"{field.default}" if fast == field.default else f"{field.default}, with --fast {fast}"
        text = f"{meaning} (default: {'as many as fit' if field.default is None else default})"
        parser.add_argument(f"--{flag}", dest=field.name, type=int, metavar="N", help=text)


_MEANING = {
    "patch": "side of what is matched by itself, raw pixels",
    "halo": "what a tile sees beyond its border, raw pixels",
    "search_window": "width of the window a patch is searched in from frame to frame, raw pixels",
    "batch": "tiles restored at once",
    "group": "patches on each side of a tile",
    "overlap": "part of the halo that is blended with the next tile, raw pixels",
    "block_matching": "leave stage one out",
    "inclusive_search": "leave out the last row and column of candidate positions, as the released code does",
}


def pop_tiling(options: dict[str, Any]) -> Tiling:
    """Take the options that `add_tiling_arguments` made out of `options`.

    Raises:
        UserError: a size is out of range.
    """
    defaults = FAST if options.pop("fast") else Tiling()
    given = {field.name: options.pop(field.name) for field in fields(Tiling)}
    try:
        return replace(defaults, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        name, _, problem = str(error).partition(":")
        raise UserError(f"--{name.replace('_', '-')}:{problem}") from error


def count_tiles(size: Sequence[int], tiling: Tiling) -> int:
    """Number of patches of a frame whose raw planes are `size` (height, width)."""
    return math.prod(math.ceil(side / tiling.patch) for side in size)
