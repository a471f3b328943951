"""Compare the variants of the network, each trained without a part, and methods without a network.

Writes results.json, tables.md and ablation.png. Interrupted, it goes on where it stopped when it is started again.
"""

import argparse
import logging
import sys
from pathlib import Path

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
from twostagealign.studies.ablation.report import draw, tables
from twostagealign.studies.ablation.scenes import bundled_scenes, clip_scenes


def main() -> None:
    """Train if asked to, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--train", action="store_true", help="first train to their end, one after the other, those that are not")
    add("--data", type=Path, metavar="FOLDER", help="pictures to train on")
    add("--reds", type=Path, metavar="FOLDER", help="a clip to test on as well: consecutive pictures, as of REDS")
    add("--output", type=Path, metavar="FOLDER", default=Path("results/ablation"), help="(default: %(default)s)")
    names = f"some of {', '.join(VARIANTS)} (default: all)"
    add("--variants", nargs="+", metavar="NAME", choices=VARIANTS, default=list(VARIANTS), help=names)
    arguments = parser.parse_args()
    if arguments.train and arguments.data is None:
        raise UserError("--train: found no --data, expected a folder of pictures to train on")
    scenes = bundled_scenes() + (clip_scenes(arguments.reds) if arguments.reds else [])
    output = output_folder(arguments.output)
    if arguments.train:
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        for name in arguments.variants:
            train_variant(OPTIONS / f"{name}.yml", arguments.data)
    methods = baselines() + shipped()
    for name in arguments.variants:
        weights = weights_file(OPTIONS / f"{name}.yml")
        if weights.is_file():
            methods.append(open_variant(OPTIONS / f"{name}.yml", VARIANTS[name]))
        else:
            print(f"{name}: left out, it has not been trained ({weights}: no such file)", file=sys.stderr)
    cells = measure_all(methods, scenes, output / "results.json")
    text = tables(cells, methods)
    write_atomically(output / "tables.md", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    draw(output / "ablation.png", cells, methods)
    print(text, end="")
    print(f"written to {output}")


if __name__ == "__main__":
    run(main)
