"""Read a results.json and print its table: for the fuzzer, since no program reads one."""

import sys
from pathlib import Path

from twostagealign.cli.run import run
from twostagealign.evaluation.results import read_results
from twostagealign.evaluation.summary import results_table


def main() -> None:
    """Read, print."""
    print(results_table(read_results(Path(sys.argv[1]))))


if __name__ == "__main__":
    run(main)
