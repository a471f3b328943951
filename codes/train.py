"""Train a network: python codes/train.py -opt options/train/two_stage_tiny.yml."""

import argparse
import logging
from pathlib import Path

from twostagealign.cli import run
from twostagealign.engine.trainer import Trainer
from twostagealign.options import load_options


def main() -> None:
    """Read the options, train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-opt", type=Path, required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--auto_resume", action="store_true", help="go on from the experiment's last training state")
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change options: train:total_iter=100 name=trial",
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    Trainer(load_options(arguments.opt, arguments.force_yml), resume=arguments.auto_resume).run()


if __name__ == "__main__":
    run(main)
