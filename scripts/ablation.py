"""Compare variants of the network, each trained without one part, with methods without a network.

Writes results.json, tables.md, ablation.png and frames.png. If it is interrupted, the same command continues where it
stopped.
"""

import argparse
import logging
import sys
from pathlib import Path

from twostagealign.cli.arguments import Parser
from twostagealign.cli.run import run
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically
from twostagealign.studies.ablation.cells import measure_all
from twostagealign.studies.ablation.methods import (
    OPTIONS,
    VARIANTS,
    baselines,
    open_variant,
    shipped,
    train_variant,
    weights_file,
)
from twostagealign.studies.ablation.report import draw, draw_by_number, table_by_number, tables
from twostagealign.studies.ablation.scenes import bundled_scenes, clip_scenes, scenes_by_number


def main() -> None:
    """Train if requested, measure, write."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", action="store_true", help="first train the variants that are not fully trained, one by one")
    add("--data", type=Path, metavar="FOLDER", help="pictures to train on")
    add("--reds", type=Path, metavar="FOLDER", help="also test on this clip: consecutive pictures, as in REDS")
    add("--output", type=Path, metavar="FOLDER", default=Path("results/ablation"), help="(default: %(default)s)")
    names = f"some of {', '.join(VARIANTS)} (default: all)"
    add("--variants", nargs="+", metavar="NAME", choices=VARIANTS, default=list(VARIANTS), help=names)
    arguments = parser.parse_args()
    if arguments.train and arguments.data is None:
        raise UserError("--train: needs a folder of pictures to train on; pass --data FOLDER")
    scenes = bundled_scenes() + (clip_scenes(arguments.reds) if arguments.reds else [])
    numbered = scenes_by_number(arguments.reds)
    output = output_folder(arguments.output)
    if arguments.train:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        for name in arguments.variants:
            train_variant(OPTIONS / f"{name}.yml", arguments.data)
    classical, networks = baselines(), shipped()
    methods = classical + networks
    for name in arguments.variants:
        weights = weights_file(OPTIONS / f"{name}.yml")
        if weights.is_file():
            methods.append(open_variant(OPTIONS / f"{name}.yml", VARIANTS[name]))
        else:
            print(f"{name}: skipped, not trained yet ({weights}: no such file)", file=sys.stderr)
    cells = measure_all(methods, scenes, output / "results.json")
    by_number = [classical[-1], *networks[-2:]]  # the best average without a network, the average alone, and all of it
    cells_by_number = measure_all(by_number, numbered, output / "results.json", levels=["high"])
    text = tables(cells, methods) + "\n" + table_by_number(cells_by_number, by_number)
    write_atomically(output / "tables.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    draw(output / "ablation.png", cells, methods)
    draw_by_number(output / "frames.png", cells_by_number, by_number)
    print(text, end="")
    print(f"written to {output}")


if __name__ == "__main__":
    run(main)
