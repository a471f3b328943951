"""Command-line options for tiles and for the search of stage one."""

from argparse import ArgumentParser
from dataclasses import fields, replace
from typing import Any, TypeVar

from twostagealign.cli.arguments import bounded
from twostagealign.matching import Search
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.runtime.bounds import CountOrZero
from twostagealign.runtime.errors import UserError

_HELP = {
    "patch": "side of what is matched by itself, raw pixels",
    "halo": "what a tile sees beyond its border, raw pixels",
    "batch": "tiles restored at once",
    "group": "patches on each side of a tile",
    "overlap": "part of the halo that is blended with the next tile, raw pixels",
    "search_window": "width of the window a patch is searched in from frame to frame, raw pixels",
    "block_matching": "leave stage one out",
    "inclusive_search": "leave out the last row and column of candidate positions, as the released code does",
}

TILINGS = {"best": FAST, "protocol": Tiling()}
"""Values of `--tiling`."""

_Settings = TypeVar("_Settings", Tiling, Search)


def add_tiling_arguments(parser: ArgumentParser) -> None:
    """Add `--tiling` and an option for every field of `Tiling` and `Search`, None unless it is given."""
    help = "best: large tiles of small patches, less time and better quality; protocol: the paper's (default: best)"
    parser.add_argument("--tiling", choices=TILINGS, default="best", help=help)
    help = "the same as --tiling best"
    parser.add_argument("--fast", dest="tiling", action="store_const", const="best", help=help)
    for best, protocol in ((FAST, Tiling()), (Search(), Search())):
        for field in fields(best):
            flag, default = field.name.replace("_", "-"), getattr(best, field.name)
            by_protocol = getattr(protocol, field.name)
            if isinstance(default, bool):
                help = _HELP[field.name]
                parser.add_argument(f"--no-{flag}", dest=field.name, action="store_const", const=False, help=help)
                continue
            known = f"{default}" if by_protocol == default else f"{default}, with --tiling protocol {by_protocol}"
            help = f"{_HELP[field.name]} (default: {'as many as fit' if default is None else known})"
            parser.add_argument(f"--{flag}", dest=field.name, type=bounded(CountOrZero), metavar="N", help=help)


def pop_tiling(options: dict[str, Any]) -> tuple[Tiling, Search]:
    """Take the options that `add_tiling_arguments` added out of `options`.

    Raises:
        UserError: a size is out of range.
    """
    return _pop(options, TILINGS[options.pop("tiling")]), _pop(options, Search())


def _pop(options: dict[str, Any], defaults: _Settings) -> _Settings:
    given = {field.name: options.pop(field.name) for field in fields(defaults)}
    try:
        return replace(defaults, **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        name, _, problem = str(error).partition(":")
        raise UserError(f"--{name.replace('_', '-')}:{problem}") from error
