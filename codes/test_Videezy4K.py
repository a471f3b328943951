"""Evaluate checkpoints on Videezy4K: clips of 3840x2160; docs/EVALUATION.md explains it all."""

from pathlib import Path

from twostagealign.cli.evaluation import evaluate_from_command_line
from twostagealign.cli.run import run


def main() -> None:
    """Evaluate as the command line says."""
    evaluate_from_command_line(__doc__, Path("options/test/Videezy4K.yml"))


if __name__ == "__main__":
    run(main)
