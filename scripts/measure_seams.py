"""Measure the effect of tiling: python scripts/measure_seams.py --input CLIP.

Each tiling of a crop is compared with a single tile that covers the crop. Block matching is off, because a single tile
would have a single shift. A row shows PSNR; the mean difference to the single tile, in 8-bit levels, by distance from
the tile border in RGB pixels; and the step of that difference across borders, and across other columns. Steps are
averaged over pieces of 32 pixels along the border, as the eye does.
"""

from pathlib import Path

import torch
from torch import Tensor

from twostagealign.cli.arguments import Parser, add_import_argument, bounded
from twostagealign.cli.run import run
from twostagealign.data import PROTOCOL_NOISE, ClipInMemory, open_clip, read_burst
from twostagealign.matching import Search
from twostagealign.models.checkpoint import find_checkpoint, open_restorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.bounds import Side
from twostagealign.runtime.errors import UserError

DISTANCES = (0, 1, 2, 4, 8, 16, 32)
PIECE = 32
WAYS = [(64, 0, 0), (64, 4, 0), (64, 4, 4), (64, 8, 0), (64, 8, 4), (64, 16, 0), (128, 16, 0)]
"""Patch, halo, overlap in raw pixels."""


def steps(difference: Tensor, columns: list[int]) -> float:
    """Return the mean absolute step of a difference (3, height, width) at these columns, averaged per piece."""
    step = difference[:, :, columns] - difference[:, :, [column - 1 for column in columns]]
    pieces = step.unflatten(1, (-1, PIECE)).mean(2)
    return float(pieces.abs().mean())


def row(restored: Tensor, whole: Tensor, truth: Tensor, side: int) -> str:
    difference = 255 * (restored - whole)
    place = torch.arange(difference.shape[2]) % side
    distance = torch.minimum(place, side - 1 - place)
    profile = [float(difference[:, :, distance == d].abs().mean()) for d in DISTANCES]
    borders = list(range(side, difference.shape[2], side))
    others = [column for column in range(3, difference.shape[2], 7) if column % side]
    numbers = [*profile, steps(difference, borders), steps(difference, others)]
    return f"{measure(restored, truth).psnr:8.3f}" + "".join(f"{number:8.3f}" for number in numbers)


def main() -> None:
    """Restore one crop with several tilings, print a row for each."""
    parser = Parser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--input", type=Path, required=True, help="folder of at least five pictures")
    add("--checkpoint", type=find_checkpoint, default="tiny", help="(default: %(default)s)")
    add("--noise", choices=PROTOCOL_NOISE, default="high", help="(default: %(default)s)")
    add(
        "--size",
        type=bounded(Side),
        default=512,
        help="side of the crop, 256 k RGB pixels (default: %(default)s)",
    )
    add_import_argument(parser)
    arguments = parser.parse_args()
    size = arguments.size
    if size < 512 or size % 256:
        raise UserError(f"--size: found {size}, expected a multiple of 256, at least 512")
    restorer = open_restorer(arguments.checkpoint, search=Search(block_matching=False))
    noise = PROTOCOL_NOISE[arguments.noise]
    clip = open_clip(arguments.input, noise)
    count = len(clip.frames)
    height, width = (2 * side for side in clip.size)
    if count < 5 or min(height, width) < size:
        found = f"{count} pictures of {width}x{height}"
        raise UserError(f"{arguments.input}: found {found}, expected at least 5 of {size}x{size}")
    first = count // 2 - 2
    pictures = torch.stack([clip.picture(index)[:, :size, :size] for index in range(first, first + 5)])
    crop = ClipInMemory(clip.name, pictures, noise, first + 1)
    burst = read_burst(crop, crop.references)
    truth = develop(burst.target(), burst.camera)

    def restore(patch: int, halo: int, overlap: int) -> Tensor:
        tiling = Tiling(patch, halo, batch=1, overlap=overlap)
        return develop(restore_frame(restorer, burst, tiling).image, burst.camera)

    whole = restore(size // 2, 16, 0)
    print(f"one tile: PSNR {measure(whole, truth).psnr:.3f}")
    names = ["patch", "halo", "overlap", "PSNR", *(f"at {d}" for d in DISTANCES), "borders", "others"]
    print("".join(f"{name:>8}" for name in names))
    for way in WAYS:
        print("".join(f"{number:8}" for number in way) + row(restore(*way), whole, truth, 2 * way[0]), flush=True)


if __name__ == "__main__":
    run(main)
