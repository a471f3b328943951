"""Write clip folders to an LMDB: --input CLIPS --output CLIPS.lmdb.

If it is interrupted, the same command continues where it stopped. --verify reads the store back and compares it with
its checksums; without --input, nothing is written.
"""

import argparse
from pathlib import Path

from twostagealign.cli.arguments import Parser
from twostagealign.data import verify_store, write_store
from twostagealign.runtime.errors import UserError


def main() -> None:
    """Write the store, verify it."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, metavar="FOLDER", help="clip folders: FOLDER/000/00000000.png")
    parser.add_argument("--output", type=Path, required=True, metavar="LMDB", help="folder of the store")
    parser.add_argument(
        "--compression", choices=("none", "png", "webp"), default="none", help="lossless (default: none)"
    )
    parser.add_argument("--verify", action="store_true", help="read everything back")
    arguments = parser.parse_args()
    if arguments.input is None and not arguments.verify:
        raise UserError("--input: missing; give a folder of clip folders, or pass --verify to check an existing store")
    if arguments.input is not None:
        info = write_store(arguments.input, arguments.output, arguments.compression)
        print(f"{arguments.output}: complete, {info}")
    if arguments.verify:
        info = verify_store(arguments.output)
        print(f"{arguments.output}: intact, {info}")
