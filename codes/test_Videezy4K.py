"""Evaluate checkpoints on Videezy4K: clips of 3840x2160; docs/EVALUATION.md explains it all."""

from pathlib import Path

from twostagealign.cli.evaluation import read_request
from twostagealign.cli.run import run
from twostagealign.evaluation.protocol import evaluate
from twostagealign.evaluation.summary import results_table


def main() -> None:
    """Read the arguments, evaluate, print the table."""
    found = evaluate(read_request(__doc__, Path("options/test/Videezy4K.yml")))
    if found:  # on rank 0
        folder, results = found
        print(results_table(results))
        print(f"written to {folder}")


if __name__ == "__main__":
    run(main)
