"""The command line of the test scripts."""

import math
from pathlib import Path
from typing import Any

from twostagealign.cli.arguments import Parser, add_graphs_argument, add_import_argument, bounded
from twostagealign.data import PROTOCOL_NOISE, NoiseLevel
from twostagealign.evaluation.protocol import Request, evaluate
from twostagealign.evaluation.summary import results_table
from twostagealign.matching import Search
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.options.evaluation import SEARCH_FIELDS, load_evaluation_options
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.bounds import Batch, Count, CountOrZero, FolderName, Workers
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import locate


def main() -> None:
    """Evaluate checkpoints on the data set of an option file, by default REDS4."""
    evaluate_from_command_line(main.__doc__ or "", Path("options/test/REDS4.yml"))


def evaluate_from_command_line(description: str, option_file: Path) -> None:
    """Read the command line of a test script, evaluate, print the table (on the first process).

    Args:
        description: for --help.
        option_file: unless -opt gives another.

    Raises:
        UserError: an argument, a file or the data set is not usable.
    """
    found = evaluate(read_request(description, option_file))
    if found:
        folder, results = found
        print(results_table(results))
        print(f"written to {folder}")


def read_request(description: str, option_file: Path) -> Request:
    """Read the command line of a test script.

    Args:
        description: for --help.
        option_file: unless -opt gives another.

    Returns:
        What is to be evaluated.

    Raises:
        UserError: an argument or the option file is not usable.
    """
    arguments = _parser(description, option_file).parse_args()
    options = load_evaluation_options(arguments.opt, arguments.force_yml)
    if arguments.compare and len(arguments.compare) < 2:
        raise UserError("--compare: found one checkpoint, expected at least two")
    sizes = {key: getattr(arguments, key) for key in ("batch", "overlap") if getattr(arguments, key) is not None}
    try:
        tiling = Tiling(**options.tiling.model_dump(exclude=SEARCH_FIELDS) | sizes)
        search = Search(
            **options.tiling.model_dump(include=SEARCH_FIELDS), inclusive_search=arguments.protocol != "released"
        )
    except ValueError as error:
        name = str(error).partition(":")[0]
        raise UserError(f"--{error}" if name in sizes else f"{arguments.opt}: tiling.{error}") from error
    noise = options.noise if arguments.noise is None else arguments.noise
    source = f"{arguments.opt}: noise" if arguments.noise is None else "--noise"
    save_images = options.save_images if arguments.save_images is None else arguments.save_images
    if arguments.report and arguments.save_images is None:
        save_images = max(save_images, 1)
    return Request(
        options=options,
        data=locate(arguments.data or Path(options.data)),
        checkpoints=arguments.compare or [arguments.checkpoint],
        tiling=tiling,
        search=search,
        noise=None if noise is None else parse_noise(noise, source),
        features_checkpoint=arguments.features_checkpoint,
        averaged=arguments.weights == "ema",
        clips=arguments.clips,
        limit=arguments.limit,
        device=arguments.device,
        dtype=arguments.dtype,
        cuda_graphs=arguments.cuda_graphs,
        workers=arguments.workers,
        results=arguments.results,
        name=arguments.name,
        resume=arguments.resume,
        skip_bad=arguments.skip_bad,
        save_images=save_images,
        report=arguments.report,
    )


def parse_noise(text: str, source: str) -> list[NoiseLevel]:
    """Read noise levels.

    Args:
        text: "high", "low", "both", or "SHOT,READ" on the [0, 1] scale.
        source: the option or file that errors name.

    Returns:
        The levels.

    Raises:
        UserError: the text is none of these.

    Example:
        >>> parse_noise("0.01,0.02", "--noise")
        [NoiseLevel(name='shot0.01_read0.02', shot=0.01, read=0.02)]
    """
    names = list(PROTOCOL_NOISE) if text == "both" else [text]
    if all(name in PROTOCOL_NOISE for name in names):
        return [PROTOCOL_NOISE[name] for name in names]
    try:
        shot, read = (float(number) for number in text.split(","))
    except ValueError:
        shot = math.nan
        read = math.nan
    if not (0 <= shot < 1 and 0 <= read < 1):
        expected = f"{', '.join(PROTOCOL_NOISE)}, both or SHOT,READ, two numbers in [0, 1)"
        raise UserError(f"{source}: found {text!r}, expected {expected}")
    return [NoiseLevel(f"shot{shot:g}_read{read:g}", shot, read)]


def _parser(description: str, option_file: Path) -> Parser:
    parser = Parser(description=description)
    add = parser.add_argument
    add("-opt", type=Path, default=option_file, metavar="FILE", help="option file (default: %(default)s)")
    add("--force_yml", nargs="+", default=[], metavar="KEY=VALUE", help="change options: tiling:halo=8 frames=3")
    add("--data", type=Path, metavar="FOLDER", help="the data set (default: as in the option file)")
    which = parser.add_mutually_exclusive_group()
    kind: dict[str, Any] = {"type": find_checkpoint, "metavar": "FILE"}
    which.add_argument("--checkpoint", **kind, default="tiny", help="weights, or their name (default: %(default)s)")
    which.add_argument("--compare", **kind, nargs="+", help="several weights, compared with the first")
    add("--features-checkpoint", type=Path, metavar="FILE", help="feature net, where it is a file of its own")
    add("--weights", choices=("ema", "raw"), default="ema", help="which of a file that holds averaged and raw ones")
    add("--noise", metavar="LEVEL", help="high, low, both or SHOT,READ (default: as in the option file)")
    add("--protocol", choices=("paper", "released"), default="paper", help="released: match as the released code does")
    add("--clips", nargs="+", metavar="NAME", help="evaluate these clips only")
    add("--limit", type=bounded(Count), metavar="N", help="evaluate the first N frames of each clip only")
    add("--batch", type=bounded(Batch), metavar="N", help="tiles restored at once (default: as in the option file)")
    add(
        "--overlap",
        type=bounded(CountOrZero),
        metavar="N",
        help="raw pixels by which tiles are blended with their neighbours",
    )
    add(
        "--save-images",
        type=bounded(CountOrZero),
        nargs="?",
        const=1,
        metavar="N",
        help="write pictures of N frames per clip",
    )
    add("--report", action="store_true", help="write report.html, by default with pictures of one frame per clip")
    add("--resume", action="store_true", help="go on where an evaluation stopped")
    add("--skip-bad", action="store_true", help="leave out files that cannot be read, and say so")
    add("--results", type=Path, default=Path("results"), metavar="FOLDER", help="(default: %(default)s)")
    add("--name", type=bounded(FolderName), help="folder in it (default: of data set, checkpoint and noise)")
    add("--workers", type=bounded(Workers), default=2, metavar="N", help="reading threads (default: %(default)s)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add("--dtype", choices=("float32", "bfloat16", "float16", "float64"), default="float32", help="of the network")
    add_graphs_argument(parser)
    add_import_argument(parser)
    return parser
