"""Write the pictures of an example: a burst of a photograph, to be restored with --simulate or dropped on the page."""

from pathlib import Path
from shlex import quote

from twostagealign.cli.arguments import Parser
from twostagealign.data import BUNDLED, PROTOCOL_NOISE, write_picture
from twostagealign.data.stills.example import example_clip
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder


def main() -> None:
    """Read the arguments and write the pictures."""
    parser = Parser(description=__doc__)
    parser.add_argument("name", choices=BUNDLED, help="photograph that comes with scikit-image")
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures; it must be empty")
    options = parser.parse_args()
    folder = output_folder(options.output)
    if any(folder.iterdir()):
        raise UserError(f"{folder}: not empty; give another folder, for the pictures alone")
    clip, _ = example_clip(options.name, PROTOCOL_NOISE["high"])
    for index, name in enumerate(clip.frames):
        write_picture(folder / f"{name}.png", clip.picture(index).permute(1, 2, 0).numpy())
    restore = f"twostagealign restore --input {quote(str(folder))} --simulate high --output restored"
    print(f"written to {folder}; restore them with: {restore}")
