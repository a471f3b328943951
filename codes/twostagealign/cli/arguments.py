"""Command lines: errors of one line, and arguments within bounds."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import checked_path
from twostagealign.runtime.validation import describe_error


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are `UserError`, so that `cli.run` prints them as all others.

    Arguments of `type=Path` are checked by `checked_path`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", Path, checked_path)

    def error(self, message: str) -> NoReturn:
        """Raise the error of a command line that cannot be parsed."""
        if message.startswith("argument "):
            raise UserError(message.removeprefix("argument "))
        raise UserError(f"{message} (--help lists the arguments)")


def bounded(annotation: Any) -> Callable[[str], Any]:
    """A `type` for `add_argument`.

    Args:
        annotation: a type of `runtime.bounds`, such as `Seed`.

    Returns:
        A function that parses and checks the argument's text.
    """
    adapter = TypeAdapter(annotation)

    def parse(text: str) -> Any:
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            raise argparse.ArgumentTypeError(describe_error(error.errors()[0]).replace("%", "%%")) from None

    return parse
