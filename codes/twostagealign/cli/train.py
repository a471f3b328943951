"""Train a network as an option file says, such as -opt options/train/two_stage_tiny.yml."""

import argparse
import logging
from datetime import timedelta
from pathlib import Path

from twostagealign.cli.arguments import Parser, add_import_argument
from twostagealign.options import load_options
from twostagealign.runtime.ranks import join_ranks
from twostagealign.training.build import build_trainer


def main() -> None:
    """Read the options, train."""
    parser = Parser(description=__doc__)
    parser.add_argument("-opt", type=Path, required=True, metavar="FILE", help="option file (YAML)")
    parser.add_argument("--auto_resume", action="store_true", help="go on from the experiment's newest training state")
    parser.add_argument(
        "--force_yml",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="change options: train:total_iter=100 name=trial",
    )
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch"],
        default="none",
        help="pytorch: this is one of the processes that torchrun or torch.distributed.launch has started",
    )
    parser.add_argument("--local_rank", "--local-rank", help=argparse.SUPPRESS)  # torch.distributed.launch gives it
    add_import_argument(parser)
    arguments = parser.parse_args()
    options = load_options(arguments.opt, arguments.force_yml)
    timeout = timedelta(minutes=options.train.timeout)
    with join_ranks(required=arguments.launcher == "pytorch", timeout=timeout) as ranks:
        logging.basicConfig(level=logging.INFO if ranks.rank == 0 else logging.ERROR, format="%(message)s")
        build_trainer(options, arguments.auto_resume or ranks.restarted, ranks).run()
