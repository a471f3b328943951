"""Add the validation clips of REDS to its training clips, as clips 240 to 269.

python scripts/regroup_reds.py --train datasets/REDS/train_sharp --val datasets/REDS/val_sharp
"""

import argparse
from pathlib import Path

from twostagealign.cli.arguments import Parser
from twostagealign.cli.run import run
from twostagealign.data import regroup


def main() -> None:
    """Read the arguments, regroup."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True, metavar="FOLDER", help="training clips, to be extended")
    parser.add_argument("--val", type=Path, required=True, metavar="FOLDER", help="validation clips")
    parser.add_argument("--mode", choices=("link", "copy"), default="link", help="symbolic links (default) or copies")
    arguments = parser.parse_args()
    clips = regroup(arguments.train, arguments.val, arguments.mode)
    print(f"{arguments.train}: holds {len(clips)} clips of {arguments.val} as {clips[0].name} to {clips[-1].name}")


if __name__ == "__main__":
    run(main)
