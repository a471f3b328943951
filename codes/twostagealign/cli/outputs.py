"""Command-line options for the files that are written of a restored picture."""

from argparse import ArgumentParser, ArgumentTypeError
from dataclasses import fields
from typing import Any, get_args

from twostagealign.cli.arguments import bounded
from twostagealign.data.camera.dng_file import DngLayout
from twostagealign.data.picture_files import PictureFormat
from twostagealign.isp import Tone
from twostagealign.restoration.outputs import Brightness, Outputs
from twostagealign.runtime.bounds import Probability, Stops


def add_output_arguments(parser: ArgumentParser) -> None:
    """Add an option for every field of `Outputs`."""
    add = parser.add_argument
    formats = "of the picture: 8 bits in png and jpeg, 16 in png16 and tiff (default: %(default)s)"
    add("--format", choices=get_args(PictureFormat), default="png", help=formats)
    brightness = "exposure correction of the picture; auto: medium brightness (default: 0)"
    add("--brightness", type=_brightness, default=0.0, metavar="EV|auto", help=brightness)
    tones = "tone curve of the picture: none is plain sRGB (default: curve, with --simulate paper)"
    add("--tone", choices=get_args(Tone), help=tones)
    add("--linear", action="store_true", help="also write 16-bit linear camera RGB")
    layouts = "also write a DNG for raw converters, demosaicked (linear) or as a mosaic (cfa); linear if not given"
    add("--dng", choices=get_args(DngLayout), nargs="?", const="linear", help=layouts)
    strengths = "blend with the demosaicked frame: below 1 some noise and texture stay (default: 1)"
    add("--strength", type=bounded(Probability), default=1.0, metavar="N", help=strengths)
    add("--keep-position", action="store_true", help="keep the position where the picture was taken in the files")


def pop_outputs(options: dict[str, Any]) -> Outputs:
    """Take the options that `add_output_arguments` added out of `options`."""
    return Outputs(**{field.name: options.pop(field.name) for field in fields(Outputs)})


def _brightness(text: str) -> Brightness:
    if text == "auto":
        return "auto"
    try:
        return bounded(Stops)(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}, or auto") from None
