"""Export a checkpoint to files that run without this package: ONNX, or a program of torch.export."""

from pathlib import Path

from twostagealign.cli.arguments import Parser, add_import_argument, bounded
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.models.export import FORMATS, export_checkpoint
from twostagealign.runtime.bounds import Frames


def main() -> None:
    """Read the arguments, export, name the files."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--checkpoint", type=find_checkpoint, default="tiny", help="weights, or their name (default: %(default)s)")
    add("--features-checkpoint", type=Path, help="weights of the feature net, where they are a file of their own")
    add("--format", choices=FORMATS, default="onnx", help="(default: %(default)s)")
    add("--frames", type=bounded(Frames), help="frames of a burst (default: what the network was made for, or else 5)")
    add("--output", type=Path, metavar="FOLDER", default=Path("exported"), help="(default: %(default)s)")
    add_import_argument(parser)
    arguments = parser.parse_args()
    for path in export_checkpoint(
        arguments.checkpoint, arguments.output, arguments.format, arguments.frames, arguments.features_checkpoint
    ):
        print(f"written to {path}")
