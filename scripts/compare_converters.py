"""Compare how raw converters render restored DNGs and the raw files that they were restored from, on a colour chart.

A burst of a colour chart is written as raw DNGs, restored to a linear DNG and to a mosaic, and all three are rendered
by darktable and RawTherapee, where these are installed, without their automatic tone curves. The table gives the mean
and the largest difference of a patch, in levels of 255. The exit code is 1 if a mean is above 2.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile

from twostagealign.cli.arguments import Parser
from twostagealign.cli.run import run
from twostagealign.isp import protocol_camera, xyz2cam
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.restoration.outputs import Outputs
from twostagealign.restoration.tiling import FAST

# Patches of a ColorChecker, 4 rows of 6, sRGB. Source: X-Rite, colours of charts before November 2014.
PATCHES = (
    "735244 c29682 627a9d 576c43 8580b1 67bdaa d67e2c 505ba6 c15a63 5e3c6c 9dbc40 e0a32e "
    "383d96 469449 af363c e7c71f bb5695 0885a1 f3f3f2 c8c8c8 a0a0a0 7a7a79 555555 343434"
)
SIDE = 96  # of a patch, pixels
MARGIN = 24  # of a patch that is not measured, pixels
BLACK, WHITE, SHOT, READ = 256, 16383, 1e-5, 1e-4
MOST = 2.0  # mean difference, levels of 255

COMMANDS: Mapping[str, list[str]] = {
    "darktable": [
        "darktable-cli", "{input}", "{output}", "--core", "--configdir", "{config}", "--library", ":memory:",
        "--conf", "plugins/darkroom/workflow=none",
    ],
    "RawTherapee": ["rawtherapee-cli", "-Y", "-t", "-o", "{output}", "-c", "{input}"],
}  # fmt: skip


def draw_chart() -> np.ndarray:
    """Return linear sRGB of the chart, (height, width, 3); white is at 0.8."""
    srgb = np.array([[int(patch[i : i + 2], 16) for i in (0, 2, 4)] for patch in PATCHES.split()]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4) * 0.9
    return linear.reshape(4, 6, 3).repeat(SIDE, 0).repeat(SIDE, 1)


def write_raw(path: Path, chart: np.ndarray, seed: int) -> None:
    """Write a noisy raw DNG of the chart as a camera would."""
    camera = protocol_camera()
    gains = np.array([camera.red_gain.item(), 1, camera.blue_gain.item()])
    linear = chart @ camera.rgb2cam[0].numpy().T / gains
    mosaic = linear[..., 1].copy()
    mosaic[::2, ::2], mosaic[1::2, 1::2] = linear[::2, ::2, 0], linear[1::2, 1::2, 2]
    mosaic += np.random.default_rng(seed).normal(size=mosaic.shape) * np.sqrt(SHOT * mosaic.clip(0) + READ**2)
    stored = (BLACK + mosaic * (WHITE - BLACK)).round().clip(0, WHITE).astype(np.uint16)
    matrix = [part for value in xyz2cam(camera)[0].flatten().tolist() for part in (round(value * 10**6), 10**6)]
    neutral = [part for gain in gains for part in (10**6, round(gain * 10**6))]
    tags = [
        (271, "s", 0, "Synthetic"), (272, "s", 0, "Synthetic 1"), (274, "H", 1, 1),
        (33421, "H", 2, (2, 2)), (33422, "B", 4, (0, 1, 1, 2)), (50706, "B", 4, (1, 4, 0, 0)),
        (50708, "s", 0, "Synthetic 1"), (50714, "I", 1, BLACK), (50717, "I", 1, WHITE), (50721, "2i", 9, matrix),
        (50728, "2I", 3, neutral), (50778, "H", 1, 21), (51041, "d", 2, (SHOT, READ**2)),
    ]  # fmt: skip
    tifffile.imwrite(path, stored, photometric=32803, metadata=None, extratags=[(*tag, True) for tag in tags])


def convert(command: list[str], source: Path, folder: Path) -> np.ndarray:
    """Render a file by a raw converter; mean of each patch, (24, 3), levels of 255."""
    output = folder / f"{source.parent.name}_{source.stem}_{command[0]}.tif"
    values = {"input": source, "output": output, "config": folder / "config"}
    environment = os.environ | {"HOME": str(folder)}  # no settings of the user
    arguments = [part.format(**values) for part in command]
    subprocess.run(arguments, env=environment, check=True, capture_output=True, timeout=300)
    stored = tifffile.imread(output)
    picture = stored * (255 / np.iinfo(stored.dtype).max)
    border = (4 * SIDE - picture.shape[0]) // 2  # RawTherapee leaves the border of a mosaic out
    inner, size = range(MARGIN - border, 6 * SIDE, SIDE), SIDE - 2 * MARGIN
    return np.array([picture[y : y + size, x : x + size].mean((0, 1)) for y in inner[:4] for x in inner[:6]])


def main() -> int:
    """Write, restore, render, compare."""
    Parser(description=__doc__).parse_args()
    found = {name: command for name, command in COMMANDS.items() if shutil.which(command[0])}
    if not found:
        print("neither darktable-cli nor rawtherapee-cli is installed")
        return 0
    failed = False
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "raw").mkdir()
        for index in range(3):
            write_raw(folder / "raw" / f"{index}.dng", draw_chart(), index)
        for layout in ("linear", "cfa"):
            request = Request(find_checkpoint("tiny"), outputs=Outputs(dng=layout), tiling=FAST)
            restore_folder(folder / "raw", folder / layout, request)
        for converter, command in found.items():
            expected = convert(command, folder / "raw" / "1.dng", folder)
            for layout in ("linear", "cfa"):
                (restored,) = (folder / layout).glob("*.dng")
                difference = np.abs(convert(command, restored, folder) - expected)
                failed |= difference.mean() > MOST
                print(f"{converter:12} {layout:7} mean {difference.mean():.2f}, largest {difference.max():.2f}")
    return int(failed)


if __name__ == "__main__":
    run(main)
