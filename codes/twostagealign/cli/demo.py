"""Make a noisy raw burst from a photograph or a clip, restore it, and draw the result next to classical methods."""

from pathlib import Path

from twostagealign.cli.arguments import Parser, add_import_argument, bounded
from twostagealign.data import BUNDLED
from twostagealign.isp import PROTOCOL_LEVELS
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.runtime.bounds import Seed
from twostagealign.studies.demo import demo_table, run_demo


def main() -> None:
    """Read the arguments, run the demo, print the measures."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--output", type=Path, default=Path("results/demo"), help="folder for the results (default: %(default)s)")
    add("--checkpoint", type=find_checkpoint, default="tiny", help="weights, or their name (default: %(default)s)")
    subject = parser.add_mutually_exclusive_group()
    names = f"one of {', '.join(BUNDLED)} (default: %(default)s)"
    subject.add_argument("--picture", default="astronaut", dest="source", metavar="NAME", help=names)
    clip = "folder of consecutive pictures; restores the middle one, with the clip's own motion"
    subject.add_argument("--clip", type=Path, metavar="FOLDER", help=clip)
    add("--noise", choices=PROTOCOL_LEVELS, default="high", help="level of the test protocol (default: %(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add(
        "--seed",
        type=bounded(Seed),
        default=0,
        help="seed of the camera motion (default: %(default)s)",
    )
    add_import_argument(parser)
    options = vars(parser.parse_args())
    result = run_demo(**options)
    print(demo_table(result))
    print(f"{result['seconds']:.0f} s; written to {options['output']}: see comparison.png first")
