"""Evaluate checkpoints on REDS4: four clips of REDS, 1280x720; docs/EVALUATION.md explains it all."""

from pathlib import Path

from twostagealign.cli.evaluation import evaluate_from_command_line
from twostagealign.cli.run import run


def main() -> None:
    """Evaluate as the command line says."""
    evaluate_from_command_line(__doc__, Path("options/test/REDS4.yml"))


if __name__ == "__main__":
    run(main)
