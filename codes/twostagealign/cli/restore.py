"""Restore a burst of raw frames, or degrade a clip of ordinary pictures and restore it."""

from pathlib import Path

from twostagealign.cli.arguments import Parser, add_import_argument, bounded
from twostagealign.cli.outputs import add_output_arguments, pop_outputs
from twostagealign.cli.tiling import add_tiling_arguments, pop_tiling
from twostagealign.isp import PROTOCOL_LEVELS
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.restoration.folder import Request, restoration_table, restore_folder
from twostagealign.runtime.bounds import CountOrZero, Frames


def main() -> None:
    """Read the arguments, restore, print the measures."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    inputs = "folder of raw files, or of Bayer mosaics with camera.yml; of pictures for --simulate; or one such file"
    add("--input", type=Path, required=True, help=inputs)
    add("--output", type=Path, required=True, help="folder for the results")
    add("--simulate", choices=PROTOCOL_LEVELS, help="degrade ordinary pictures with this noise, restore and measure")
    add("--checkpoint", type=find_checkpoint, default="tiny", help="weights, or their name (default: %(default)s)")
    add("--features-checkpoint", type=Path, help="weights of the feature net, where they are a file of their own")
    add("--frames", type=bounded(Frames), help="frames that restore one picture (default: 5)")
    add("--reference", type=bounded(CountOrZero), help="frame to restore, from 0 (default: the middle one)")
    add("--sliding", action="store_true", help="restore every frame")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    dtypes = ("auto", "float32", "bfloat16", "float16", "float64")
    add("--dtype", choices=dtypes, default="auto", help="of the network; auto: bfloat16 on a GPU made for it")
    add_output_arguments(parser)
    add_tiling_arguments(parser)
    add_import_argument(parser)
    options = vars(parser.parse_args())
    tiling, search = pop_tiling(options)
    outputs = pop_outputs(options)
    input, output = options.pop("input"), options.pop("output")
    result = restore_folder(input, output, Request(outputs=outputs, tiling=tiling, search=search, **options))
    if options["simulate"]:
        print(restoration_table(result))
    print(f"written to {output}")
