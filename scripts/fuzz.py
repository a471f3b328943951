"""Feed the programs damaged inputs: each must be accepted with finite results, or refused in one line.

    python scripts/fuzz.py --minutes 10 --jobs 2

An input is a function of its kind, the seed and its number. Each runs in a process of its own with limits of time and
memory. What fails is kept in a folder, with the command line that shows it again. Exit code 1: something failed.
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a process that has threads should not be forked

from fuzzing.campaign import Campaign, report
from fuzzing.kinds import KINDS

from twostagealign.cli.run import run
from twostagealign.runtime.files import prepare_output, write_json


def main() -> int:
    """Read the arguments, fuzz, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seed", type=int, default=0, help="of all inputs (default: %(default)s)")
    add("--inputs", type=int, default=10_000, metavar="N", help="how many (default: %(default)s)")
    add("--minutes", type=float, metavar="N", help="stop after this time (default: none)")
    add("--only", nargs="+", choices=KINDS, metavar="KIND", help=f"kinds of input: {', '.join(KINDS)}")
    add("--number", type=int, metavar="N", help="only input N, which a report has named")
    add("--jobs", type=int, default=1, metavar="N", help="inputs at a time (default: %(default)s)")
    add("--output", type=Path, default=Path("results/fuzz"), metavar="FOLDER", help="(default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write the table there, too")
    add("--verbose", action="store_true", help="print what the programs answer")
    arguments = parser.parse_args()
    if arguments.json:
        prepare_output(arguments.json)
    campaign = Campaign(arguments.output, arguments.seed, arguments.only or list(KINDS))
    numbers = [arguments.number] if arguments.number is not None else range(arguments.inputs)
    found = campaign.run(numbers, arguments.jobs, arguments.minutes, arguments.verbose)
    print(report(found))
    if arguments.json:
        write_json(arguments.json, found)
    return int(any(entry["failed"] for entry in found["kinds"].values()))


if __name__ == "__main__":
    run(main)
