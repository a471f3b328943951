"""Measure speed and memory: python scripts/benchmark.py [SUITE ...]. The default is all suites."""

from twostagealign.cli.run import run  # isort: skip  # before torch: it makes threads wait as in every program

import argparse
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from baselines import DirectNetwork, match_directly, restore_directly
from torch import Tensor

from twostagealign.cli.arguments import Parser
from twostagealign.models import TwoStageRestorer
from twostagealign.runtime.environment import environment
from twostagealign.runtime.files import output_folder, prepare_output, write_json
from twostagealign.studies import benchmarks
from twostagealign.studies.benchmarks import Measurement


def restore_frame_directly(restorer: TwoStageRestorer, lq: Tensor, noise_map: Tensor) -> Tensor:
    network = DirectNetwork(restorer.network.state_dict(), residual=bool(restorer.network.residual))
    return restore_directly(network, restorer.features, lq, noise_map)


SUITES: dict[str, Callable[[argparse.Namespace], Iterator[Measurement]]] = {
    "dcn": lambda _: benchmarks.benchmark_dcn(),
    "network": lambda _: benchmarks.benchmark_network(DirectNetwork),
    "matching": lambda _: benchmarks.benchmark_matching(match_directly),
    "frame": lambda arguments: benchmarks.benchmark_frame(restore_frame_directly, arguments.whole),
    "precision": lambda _: benchmarks.benchmark_precision(),
    "busy": lambda _: benchmarks.benchmark_busy(),
    "clip": lambda _: benchmarks.benchmark_clip(),
    "raw": lambda arguments: benchmarks.benchmark_raw(arguments.whole),
    "memory": lambda _: benchmarks.benchmark_memory(),
    "data": lambda arguments: benchmarks.benchmark_data(arguments.input),
    "growth": lambda arguments: benchmarks.benchmark_growth(arguments.plots),
}


def main() -> None:
    """Run the suites, print each number with its bar and verdict, save them."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("suite", nargs="*", metavar="SUITE", help=f"what to measure: {', '.join(SUITES)} (default: all)")
    add("--json", type=Path, metavar="FILE", help="also write the numbers to FILE")
    add("--input", type=Path, metavar="FOLDER", help="suite data: clip folders (default: synthetic clips)")
    add("--plots", type=Path, metavar="FOLDER", help="suite growth: write growth.png and stages.png to FOLDER")
    add("--whole", action="store_true", help="suites frame and raw: whole frames, all sizes; takes minutes")
    arguments = parser.parse_args()
    for suite in arguments.suite:
        if suite not in SUITES:
            parser.error(f"SUITE: unknown suite {suite!r}; choose from {', '.join(SUITES)}")
    if arguments.json:
        prepare_output(arguments.json)
    if arguments.plots:
        output_folder(arguments.plots)
    results = []
    for suite in arguments.suite or SUITES:
        print(f"{suite} (float32, unless a name says otherwise)", flush=True)
        start = time.perf_counter()
        for result in SUITES[suite](arguments):
            print(f"  {result}", flush=True)
            value = result.value if math.isfinite(result.value) else None  # JSON has no NaN
            results.append({"suite": suite, **asdict(result), "value": value, "passes": result.passes})
        print(f"  measured in {time.perf_counter() - start:.0f} s", flush=True)
    missed = sum(not result["passes"] for result in results)
    print("every bar is met" if not missed else f"{missed} bars are missed")
    if arguments.json:
        write_json(arguments.json, {"environment": environment(), "results": results})


if __name__ == "__main__":
    run(main)
