"""The command `twostagealign`: one sub-command for each program."""

import sys
from importlib import import_module
from typing import NoReturn

import twostagealign
from twostagealign.cli.arguments import Parser
from twostagealign.cli.run import run

PROGRAMS = {
    "restore": ("restore", "restore a burst of raw frames"),
    "train": ("train", "train a network"),
    "test": ("evaluation", "evaluate checkpoints on a data set"),
    "app": ("app", "serve a local page on which a burst is dropped"),
    "demo": ("demo", "restore a noisy burst made from a photograph"),
    "export": ("export", "export a checkpoint to ONNX or torch.export"),
    "example": ("example", "write the pictures of an example"),
    "list-models": ("list_models", "list the checkpoints that come with the project"),
    "calibrate": ("calibrate", "measure the noise of a camera"),
    "create-lmdb": ("create_lmdb", "write clip folders to an LMDB"),
}
"""Sub-command: its module in this folder, and a line for --help. A module is imported when its turn comes."""


def main() -> NoReturn:
    """Run the program that the first argument names, and exit."""
    run(_run_program)


def _run_program() -> None:
    parser = Parser(prog="twostagealign", description="Joint denoising and demosaicking of raw bursts.")
    parser.add_argument("--version", action="version", version=twostagealign.__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, line) in PROGRAMS.items():
        commands.add_parser(name, help=line, add_help=False)
    command = parser.parse_args(sys.argv[1:2]).command
    module, _ = PROGRAMS[command]
    sys.argv = [f"twostagealign {command}", *sys.argv[2:]]
    import_module(f"twostagealign.cli.{module}").main()
