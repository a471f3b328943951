"""Measure levels and noise of a camera from flat and dark frames, and write them as a camera.yml with a plot.

Take pairs of frames of an evenly lit surface, out of focus, at several exposures from dark to just clipped, and two or
more frames with the lens cap on, all at one ISO.
"""

import os
from pathlib import Path

from twostagealign.cli.arguments import Parser
from twostagealign.data.camera.calibration import calibrate
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import prepare_output, write_atomically
from twostagealign.studies.calibration_figure import draw_calibration


def main() -> None:
    """Read the arguments, measure, and write."""
    parser = Parser(description=__doc__)
    add = parser.add_argument
    add("--flats", type=Path, required=True, help="folder of pairs of flat frames of several exposures")
    add("--darks", type=Path, required=True, help="folder of dark frames")
    add("--output", type=Path, required=True, help="camera.yml to write; the plot is beside it, as .png")
    options = parser.parse_args()
    plot = options.output.with_suffix(".png")
    for path in (options.output, plot):
        if os.path.lexists(path):
            raise UserError(f"{path}: exists; remove it, or choose another name")
    if options.output.suffix not in (".yml", ".yaml"):
        raise UserError(f"{options.output}: expected a name that ends in .yml")
    prepare_output(options.output)
    found = calibrate(options.flats, options.darks)
    text = found.camera_file()
    write_atomically(options.output, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    draw_calibration(found, plot)
    print(text, end="")
    print(f"written to {options.output}, plot in {plot}")
