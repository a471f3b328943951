"""Make a scene with the structure of SC_burst from any clip.

python scripts/make_sc_burst.py --input CLIP --output datasets/SC_burst/Scene01
"""

from pathlib import Path

from twostagealign.cli.arguments import Parser, bounded
from twostagealign.cli.run import run
from twostagealign.data import PROTOCOL_NOISE
from twostagealign.data.clips.clip_sets import open_numbered_clip
from twostagealign.data.clips.sc_burst_writer import write_scene
from twostagealign.runtime.bounds import Frames
from twostagealign.runtime.errors import UserError


def main() -> None:
    """Degrade the frames by the test protocol and write them as .mat files."""
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder of numbered pictures")
    add("--output", type=Path, required=True, help="folder of the scene")
    add("--noise", choices=PROTOCOL_NOISE, default="high", help="(default: %(default)s)")
    add("--frames", type=bounded(Frames), default=5, help="length of the burst (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.frames < 1:
        raise UserError(f"--frames: found {arguments.frames}, expected at least 1")
    noise = PROTOCOL_NOISE[arguments.noise]
    clip = open_numbered_clip(arguments.input, noise, arguments.frames)
    frames = [clip.read(index).raw() for index in range(arguments.frames)]
    for path in write_scene(arguments.output, frames, noise.shot, noise.read):
        print(path)


if __name__ == "__main__":
    run(main)
