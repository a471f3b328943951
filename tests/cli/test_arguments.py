"""Errors of command lines."""

import pytest

from twostagealign.cli.arguments import Parser
from twostagealign.runtime.errors import UserError


@pytest.mark.parametrize("arguments", [["x" * 5000], ["--size", "x" * 5000]])
def test_an_endless_argument_is_not_repeated_to_its_end(arguments: list[str]) -> None:
    parser = Parser()
    parser.add_argument("--size", type=int)
    with pytest.raises(UserError) as caught:
        parser.parse_args(arguments)
    assert 40 < len(str(caught.value)) < 500
