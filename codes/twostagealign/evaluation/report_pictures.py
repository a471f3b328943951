"""Pictures of a frame in the report: crops to compare, and the matched offsets as arrows."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median_low

import cv2
import numpy as np
from PIL import Image
from pydantic import ValidationError

from twostagealign.data import read_picture
from twostagealign.evaluation.results import FrameResult, Pictures, Shifts
from twostagealign.restoration.quality import find_detail
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular

CROP = (300, 400)
"""Height and width of the crops that are shown pixel by pixel; smaller frames are shown whole."""

OVERVIEW_WIDTH = 640
"""Width of the picture under the arrows."""

ARROW_REACH = 0.45
"""Length of the longer arrows, as a share of a tile's side."""


@dataclass(frozen=True)
class Layer:
    """A picture as a data URI; `group` is the number of the run that it is shown with, None for all runs."""

    label: str
    alt: str
    uri: str
    group: int | None = None


@dataclass(frozen=True)
class Arrows:
    """Offsets of all tiles in a neighbour, raw pixels: as an SVG path, and their median x and y as text."""

    frame: str
    path: str
    median: str


@dataclass(frozen=True)
class RunOffsets:
    """Offsets that one run found; `quality` is PSNR and SSIM as text, `gain` how much longer the arrows are."""

    run: str
    quality: str
    gain: int
    arrows: Sequence[Arrows]


@dataclass(frozen=True)
class ShownFrame:
    """Everything that is shown of a frame.

    Attributes:
        clip: name of the clip.
        frame: name of the frame.
        size: bytes of all pictures.
        crop: width and height of the layers and residuals, pixels.
        corner: x and y of the crop in the frame, pixels.
        raw_size: width and height of the raw planes.
        layers: pictures to compare; the first is the noisy reference, the second the restored one.
        residuals: one for each run; none where there is no ground truth.
        overview: the whole reference frame, scaled down.
        offsets: one for each run.
    """

    clip: str
    frame: str
    size: int
    crop: tuple[int, int]
    corner: tuple[int, int]
    raw_size: tuple[int, int]
    layers: Sequence[Layer]
    residuals: Sequence[Layer]
    overview: Layer
    offsets: Sequence[RunOffsets]


@dataclass(frozen=True)
class PicturedResult:
    """Result of one run for a frame that has pictures; `run` and `noise` are names."""

    run: str
    noise: str
    result: FrameResult
    pictures: Pictures


def show_frame(folder: Path, results: Sequence[PicturedResult]) -> ShownFrame:
    """Read and encode the pictures of a frame that all runs have; their names are relative to `folder`.

    Returns:
        Crops at the place with most detail, compressed without loss; overview and residual compressed with loss.
    """
    first, pictures = results[0], results[0].pictures
    noisy = read_picture(folder / pictures.noisy)
    y, x = find_detail(read_picture(folder / (pictures.truth or pictures.restored)), CROP)
    height, width = (min(side, whole) for side, whole in zip(CROP, noisy.shape, strict=False))
    several = len(results) > 1
    place = f"frame {first.result.frame} of clip {first.result.clip}"

    def crop(name: str, label: str, words: str, group: int | None = None, quality: int | None = None) -> Layer:
        pixels = read_picture(folder / name)[y : y + height, x : x + width]
        return Layer(label, f"{words}, {place}, crop", data_uri(pixels, quality), group)

    layers: list[Layer] = []
    residuals: list[Layer] = []
    offsets: list[RunOffsets] = []
    noises: set[str] = set()
    for group, found in enumerate(results):
        if found.noise not in noises:
            layers.append(crop(found.pictures.noisy, f"noisy ({found.noise})", f"noisy reference, noise {found.noise}"))
            noises.add(found.noise)
        name = f"restored ({found.run})" if several else "restored"
        layers.append(crop(found.pictures.restored, name, name))
        if found.pictures.residual:
            words = f"residual, four times amplified about mid-grey, {found.run}"
            residuals.append(crop(found.pictures.residual, found.run, words, group, quality=80))
        offsets.append(read_offsets(folder / found.pictures.shifts, found.run, found.result))
    if pictures.truth:
        layers.append(crop(pictures.truth, "ground truth", "ground truth"))
    small = cv2.resize(noisy, _fit(noisy.shape[1], noisy.shape[0]), interpolation=cv2.INTER_AREA)
    overview = Layer("noisy reference", f"noisy reference, noise {first.noise}, whole {place}", data_uri(small, 75))
    raw_size = (noisy.shape[1] // 2, noisy.shape[0] // 2)
    size = sum(len(picture.uri) for picture in (*layers, *residuals, overview))
    clip, frame = first.result.clip, first.result.frame
    return ShownFrame(clip, frame, size, (width, height), (x, y), raw_size, layers, residuals, overview, offsets)


def _fit(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, OVERVIEW_WIDTH / width)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def data_uri(picture: np.ndarray, quality: int | None = None) -> str:
    """Encode a picture as WebP in a data URI.

    Args:
        picture: RGB, (height, width, 3) uint8.
        quality: 0 to 100; None: without loss.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    if quality is None:
        image.save(buffer, format="WEBP", lossless=True, method=2)
    else:
        image.save(buffer, format="WEBP", quality=quality)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def read_offsets(path: Path, run: str, frame: FrameResult) -> RunOffsets:
    """Read the offsets of a frame's tiles in all neighbours, as found by a run of this name, and draw arrows."""
    try:
        shifts = Shifts.model_validate_json(read_regular(path, 2**28, "the offsets of the frame's tiles"))
    except ValidationError as error:
        raise UserError(f"{path}: {error.errors()[0]['msg']}, expected the offsets of the frame's tiles") from None
    neighbours = [index for index in range(len(shifts.window)) if index != len(shifts.window) // 2]
    lengths = sorted(math.hypot(*tile[index]) for tile in shifts.shifts for index in neighbours)
    longer = lengths[int(0.9 * (len(lengths) - 1))] if lengths else 0
    gain = max(int(ARROW_REACH * shifts.patch / longer), 1) if longer else 1
    arrows = []
    for index in neighbours:
        found = [tile[index] for tile in shifts.shifts]
        path_data = " ".join(
            _arrow(*_middle(origin, shifts), gain * dy, gain * dx, shifts.patch)
            for origin, (dy, dx) in zip(shifts.origins, found, strict=True)
        )
        middle = ", ".join(f"{median_low([shift[axis] for shift in found])}".replace("-", "−") for axis in (1, 0))
        arrows.append(Arrows(shifts.window[index], path_data, middle))
    psnr = [] if frame.psnr is None else [f"{frame.psnr:.2f} dB"]
    ssim = [] if frame.ssim is None else [f"SSIM {frame.ssim:.4f}"]
    quality = ", ".join(psnr + ssim)
    return RunOffsets(run, quality, gain, arrows)


def _middle(origin: tuple[int, int], shifts: Shifts) -> tuple[float, float]:
    """Centre of the part of a tile that is inside the frame; the last tiles of a row or column may reach beyond it."""
    y, x = ((start + min(start + shifts.patch, side)) / 2 for start, side in zip(origin, shifts.size, strict=True))
    return y, x


def _arrow(y: float, x: float, dy: float, dx: float, patch: int) -> str:
    """SVG path of an arrow; a point where there is no offset."""
    length = math.hypot(dy, dx)
    if length == 0:
        return f"M{x:g} {y:g}h0"
    head = min(0.4 * length, 0.1 * patch) / length
    tip = (x + dx, y + dy)
    left, right = ((tip[0] - head * (dx - s * dy / 2), tip[1] - head * (dy + s * dx / 2)) for s in (1, -1))
    points = (f"{a:.1f} {b:.1f}" for a, b in ((x, y), tip, left, tip, right))
    return "M{} L{} M{} L{} L{}".format(*points)
