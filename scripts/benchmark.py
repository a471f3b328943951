"""Measure a part of the program: python scripts/benchmark.py data."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from twostagealign.benchmarks import SUITES, environment
from twostagealign.cli import run
from twostagealign.files import write_atomically


def main() -> None:
    """Run a suite, print each number as it comes, write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES, help="what to measure")
    parser.add_argument("--input", type=Path, metavar="FOLDER", help="measure on this instead of synthetic data")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    arguments = parser.parse_args()
    results = []
    for result in SUITES[arguments.suite](arguments.input):
        print(f"{result.name:44}{result.value:10.2f} {result.unit}", flush=True)
        results.append(asdict(result))
    if arguments.json:
        text = json.dumps({"suite": arguments.suite, "environment": environment(), "results": results}, indent=2)
        write_atomically(arguments.json, lambda temporary: temporary.write_text(text + "\n"))


if __name__ == "__main__":
    run(main)
