from argparse import ArgumentParser
from dataclasses import asdict, replace

import pytest

from twostagealign.cli.arguments import Parser
from twostagealign.cli.tiling import add_tiling_arguments, pop_tiling
from twostagealign.matching import Search
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.runtime.errors import UserError


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("patch", 30, "found 30, expected a multiple of 4, at least 4"),
        ("overlap", 8, "found 8, expected at most 4, the halo and half the patch"),
        ("search_window", 24, "found 24, expected a multiple of 16, at least 16"),
    ],
)
def test_an_error_names_the_option(name, value, problem) -> None:
    options = asdict(Tiling()) | asdict(Search()) | {name: value, "tiling": "protocol"}
    with pytest.raises(UserError, match=f"^--{name.replace('_', '-')}: {problem}"):
        pop_tiling(options)


@pytest.mark.parametrize(
    ("value", "problem"),
    [("-4", "found '-4', expected at least 0"), ("9" * 5000, "expected an integer"), ("٣", "expected an integer")],
)
def test_numbers_that_are_none_are_one_short_line(value, problem) -> None:
    parser = Parser()
    add_tiling_arguments(parser)
    with pytest.raises(UserError, match=f"^--patch: .*{problem}$") as caught:
        parser.parse_args([f"--patch={value}"])
    assert len(str(caught.value)) < 200


def test_command_line() -> None:
    parser = ArgumentParser()
    parser.add_argument("--device", default="cpu")
    add_tiling_arguments(parser)
    options = vars(parser.parse_args([]))
    assert pop_tiling(options) == (FAST, Search())
    assert options == {"device": "cpu"}  # the rest is left for others
    assert pop_tiling(vars(parser.parse_args(["--tiling", "protocol"]))) == (Tiling(), Search())
    assert pop_tiling(vars(parser.parse_args(["--fast"]))) == (FAST, Search())
    assert pop_tiling(vars(parser.parse_args(["--fast", "--halo", "8"])))[0] == replace(FAST, halo=8)
    line = "--patch 32 --halo 8 --search-window 16 --batch 2 --group 3 --overlap 4 "
    line += "--no-block-matching --no-inclusive-search"
    assert pop_tiling(vars(parser.parse_args(line.split()))) == (
        Tiling(patch=32, halo=8, batch=2, group=3, overlap=4),
        Search(search_window=16, block_matching=False, inclusive_search=False),
    )
