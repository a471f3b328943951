"""Serve a local page on which a burst is dropped, restored, compared and downloaded."""

from twostagealign.cli.arguments import Parser, add_import_argument, bounded
from twostagealign.models.checkpoint import find_checkpoint, shipped_checkpoints
from twostagealign.runtime.bounds import Port
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.memory import share_freed_memory


def main() -> None:
    """Read the arguments and serve the page."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add(
        "--host",
        default="127.0.0.1",
        help="address to listen at; 0.0.0.0: reachable from outside (default: %(default)s)",
    )
    add("--port", type=bounded(Port), default=7860, help="port, or the next free one; 0: any (default: %(default)s)")
    files = "also offer these weights; may be given several times"
    add("--checkpoint", type=find_checkpoint, action="append", default=[], metavar="FILE", help=files)
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add_import_argument(parser)
    options = parser.parse_args()
    share_freed_memory()
    try:
        from twostagealign.app.server import serve
    except ModuleNotFoundError as error:
        if error.name not in ("gradio", "fastapi", "uvicorn", "starlette"):
            raise
        raise UserError("the page needs Gradio: pip install 'twostagealign[app]'") from error
    checkpoints = [*map(str, options.checkpoint), *shipped_checkpoints()]
    serve(options.host, options.port, checkpoints, options.device)
