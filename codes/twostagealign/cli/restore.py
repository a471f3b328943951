"""Restore a burst of raw frames or many of them, or degrade a clip of ordinary pictures and restore it."""

import logging
from argparse import ArgumentTypeError
from pathlib import Path

from twostagealign.cli.arguments import Parser, add_graphs_argument, add_import_argument, bounded
from twostagealign.cli.outputs import add_output_arguments, pop_outputs
from twostagealign.cli.tiling import add_tiling_arguments, pop_tiling
from twostagealign.data.camera.reference import Reference
from twostagealign.isp import PROTOCOL_LEVELS
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.restoration.burst_list import find_bursts
from twostagealign.restoration.folder import Request, restoration_table, restore_folder
from twostagealign.restoration.many import restore_bursts
from twostagealign.runtime.bounds import CountOrZero, Frames, PositiveOrZero
from twostagealign.runtime.errors import UserError


def main() -> None:
    """Read the arguments, restore, print the measures."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    inputs = "folder of raw files, of Bayer mosaics with camera.yml, or of pictures for --simulate; or such files"
    many = "; or a folder that holds a folder for each burst"
    add("--input", type=Path, required=True, nargs="+", metavar="PATH", help=inputs + many)
    add("--output", type=Path, required=True, help="folder for the results")
    add("--simulate", choices=PROTOCOL_LEVELS, help="degrade ordinary pictures with this noise, restore and measure")
    add("--checkpoint", type=find_checkpoint, default="tiny", help="weights, or their name (default: %(default)s)")
    add("--features-checkpoint", type=Path, help="weights of the feature net, where they are a file of their own")
    add("--frames", type=bounded(Frames), help="frames that restore one picture (default: 5)")
    references = "frame to restore: middle, sharpest, or its index from 0 (default: sharpest; middle with --simulate)"
    add("--reference", type=_reference, metavar="FRAME", help=references)
    add(
        "--split-bursts",
        type=bounded(PositiveOrZero),
        metavar="SECONDS",
        help="a longer time between frames ends a burst",
    )
    add("--resume", action="store_true", help="of many bursts, leave out those that are finished")
    add("--sliding", action="store_true", help="restore every frame")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    dtypes = ("auto", "float32", "bfloat16", "float16", "float64")
    add("--dtype", choices=dtypes, default="auto", help="of convolutions; auto: bfloat16 where the CPU or GPU has it")
    add_graphs_argument(parser)
    add("--verbose", action="store_true", help="print for each raw file where its metadata is taken from")
    add_output_arguments(parser)
    add_tiling_arguments(parser)
    add_import_argument(parser)
    options = vars(parser.parse_args())
    if options.pop("verbose"):
        logging.basicConfig(format="%(message)s")
        logging.getLogger("twostagealign").setLevel(logging.INFO)
    tiling, search = pop_tiling(options)
    outputs = pop_outputs(options)
    inputs, output, gap, resume = (options.pop(name) for name in ("input", "output", "split_bursts", "resume"))
    request = Request(outputs=outputs, tiling=tiling, search=search, **options)
    if request.simulate and gap is not None:
        raise UserError("--split-bursts: for raw files; remove it, or --simulate")
    bursts = None if request.simulate else find_bursts(inputs, gap, output)
    speaks = True
    if bursts is not None:
        speaks = restore_bursts(bursts, output, request, resume)
    elif resume:
        raise UserError("--resume: for many bursts; a single one is restored at once")
    else:
        result = restore_folder(inputs, output, request)
        if request.simulate:
            print(restoration_table(result))
    if speaks:
        print(f"written to {output}")


def _reference(text: str) -> Reference:
    """Parse the argument of --reference."""
    if text == "middle":
        return "middle"
    if text == "sharpest":
        return "sharpest"
    if not text.isdecimal():
        raise ArgumentTypeError(f"found {text!r}, expected middle, sharpest or the index of a frame, from 0")
    index: int = bounded(CountOrZero)(text)
    return index
