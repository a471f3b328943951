"""Make a UHD clip: a hand-held camera moves over a wall of the bundled photographs.

python scripts/make_uhd_clip.py --output datasets/Videezy4K/wall
"""

from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np

from twostagealign.cli.arguments import Parser, bounded
from twostagealign.cli.run import run
from twostagealign.data import BUNDLED, bundled_picture, list_pictures, write_picture
from twostagealign.data.stills.motion import hand_held_motion, look
from twostagealign.runtime.bounds import Frames, Seed, Shift, Side
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder

ROWS, COLUMNS = 3, 4


def wall(height: int, width: int) -> np.ndarray:
    """Return a picture (height, width, 3) filled with the bundled photographs side by side."""
    size = (-(-height // ROWS), -(-width // COLUMNS))
    tiles = [fill(bundled_picture(name), *size) for name in islice(cycle(BUNDLED), ROWS * COLUMNS)]
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return np.vstack(rows)[:height, :width]


def fill(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale a picture to cover (height, width), and crop the excess."""
    scale = max(height / picture.shape[0], width / picture.shape[1])
    size = (max(round(scale * picture.shape[1]), width), max(round(scale * picture.shape[0]), height))
    kind = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, size, interpolation=kind)
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return scaled[top : top + height, left : left + width]


def main() -> None:
    """Draw the camera motion, write the frames."""
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder of the clip")
    add("--frames", type=bounded(Frames), default=5, help="(default: %(default)s)")
    add("--width", type=bounded(Side), default=3840, help="RGB pixels (default: %(default)s)")
    add("--height", type=bounded(Side), default=2160, help="RGB pixels (default: %(default)s)")
    add("--speed", type=bounded(Shift), default=16, help="step from frame to frame, raw pixels (default: %(default)s)")
    add("--seed", type=bounded(Seed), default=0, help="seed of the motion (default: %(default)s)")
    arguments = parser.parse_args()
    size = (arguments.height, arguments.width)
    for name, least in (("frames", 1), ("height", 12), ("width", 12)):
        if getattr(arguments, name) < least:
            raise UserError(f"--{name}: found {getattr(arguments, name)}, expected at least {least}")
    folder = output_folder(arguments.output)
    if any(folder.iterdir()):
        raise UserError(f"{folder}: not empty; give a new or empty folder")
    speed = (arguments.speed / 2, arguments.speed)
    motion = hand_held_motion(np.random.default_rng(arguments.seed), arguments.frames, speed)
    for number, view in enumerate(look(wall(*size), motion, (0, 0), size)):
        write_picture(folder / f"{number:08d}.png", view)
    print(f"{len(list_pictures(folder))} frames written to {folder}")


if __name__ == "__main__":
    run(main)
