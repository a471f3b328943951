"""Command lines: errors of one line, and arguments within bounds."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from pydantic import TypeAdapter, ValidationError

from twostagealign.options.plugins import import_plugin
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import checked_path
from twostagealign.runtime.validation import describe_error

_LONGEST = 400
"""Characters of a message."""


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are `UserError`, so that `cli.run` prints them as all others.

    Arguments of `type=Path` are checked by `checked_path`.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.register("type", Path, checked_path)

    def error(self, message: str) -> NoReturn:
        """Raise the error of a command line that cannot be parsed."""
        if len(message) > _LONGEST:  # it quotes an argument
            message = f"{message[:_LONGEST]}..."
        if message.startswith("argument "):
            raise UserError(message.removeprefix("argument "))
        raise UserError(f"{message} (--help lists the arguments)")


class _Import(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, namespace: object, values: Any, option: Any = None) -> None:
        import_plugin(values)


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    """Add --import MODULE, which imports the module as soon as it is read and leaves nothing in the arguments."""
    text = "use the networks, data sets, losses and metrics of this module; may be given several times"
    parser.add_argument("--import", action=_Import, dest=argparse.SUPPRESS, metavar="MODULE", help=text)


def add_graphs_argument(parser: argparse.ArgumentParser) -> None:
    """Add --no-cuda-graphs, as `cuda_graphs`, True unless it is given."""
    text = "call the network for every tile on a GPU, instead of recording its work once and replaying it"
    parser.add_argument("--no-cuda-graphs", dest="cuda_graphs", action="store_false", help=text)


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
