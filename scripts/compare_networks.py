"""Compare networks that are trained alike: quality by motion and noise, weights, operations, time.

Writes results.json, networks.json, tables.md and networks.png. If it is interrupted, the same command continues where
it stopped.
"""

import argparse
import logging
import sys
from dataclasses import asdict
from pathlib import Path

from twostagealign.cli.arguments import Parser
from twostagealign.cli.run import run
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically, write_json
from twostagealign.studies.ablation.cells import measure_all
from twostagealign.studies.ablation.methods import Method, baselines, shipped
from twostagealign.studies.ablation.scenes import bundled_scenes, clip_scenes
from twostagealign.studies.network_comparison.costs import Cost, measure_cost
from twostagealign.studies.network_comparison.report import draw, tables
from twostagealign.studies.network_comparison.runs import NETWORKS, SEEDS, Run

SHIFTS = (0, 8, 24, None)
"""Shifts from frame to frame, raw pixels; None: the motion of the clip."""
LEVELS = ("high", "low")


def main() -> None:
    """Train if requested, measure, write."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", action="store_true", help="first train the networks that are not fully trained, one by one")
    add("--data", type=Path, metavar="FOLDER", help="pictures to train on")
    add("--reds", type=Path, metavar="FOLDER", help="also test on this clip: consecutive pictures, as in REDS")
    add("--output", type=Path, metavar="FOLDER", default=Path("results/networks"), help="(default: %(default)s)")
    names = f"some of {', '.join(NETWORKS)} (default: all)"
    add("--networks", nargs="+", metavar="NAME", choices=NETWORKS, default=list(NETWORKS), help=names)
    add("--seeds", nargs="+", type=int, metavar="SEED", choices=SEEDS, default=list(SEEDS), help="0, 1 (default: both)")
    arguments = parser.parse_args()
    if arguments.train and arguments.data is None:
        raise UserError("--train: needs a folder of pictures to train on; pass --data FOLDER")
    scenes = bundled_scenes() + (clip_scenes(arguments.reds) if arguments.reds else [])
    scenes = [scene for scene in scenes if scene.shift in SHIFTS]
    output = output_folder(arguments.output)
    # Seed by seed, so that an interruption leaves networks that can be compared.
    runs = [Run(network, seed) for seed in arguments.seeds for network in arguments.networks]
    if arguments.train:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        for each in runs:
            each.train(arguments.data)

    methods: dict[str, list[Method]] = {method.name: [method] for method in (*baselines(), shipped()[-1])}
    costs: dict[str, Cost] = {}
    for network in arguments.networks:
        trained = [each for each in runs if each.network == network and each.weights.is_file()]
        for each in runs:
            if each.network == network and each not in trained:
                print(f"{each.name}: skipped, not trained yet ({each.weights}: no such file)", file=sys.stderr)
        if trained:
            methods[NETWORKS[network]] = [each.open() for each in trained]
            costs[NETWORKS[network]] = measure_cost(trained[0].weights)
    write_json(output / "networks.json", {name: asdict(cost) for name, cost in costs.items()})
    every = [method for some in methods.values() for method in some]
    cells = measure_all(every, scenes, output / "results.json", LEVELS)
    rows = {name: [method.name for method in some] for name, some in methods.items()}
    text = tables(cells, rows, costs)
    write_atomically(output / "tables.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    drawn = {name: runs for name, runs in rows.items() if methods[name][0].weights}
    draw(output / "networks.png", cells, drawn)
    print(text, end="")
    print(f"written to {output}")


if __name__ == "__main__":
    run(main)
