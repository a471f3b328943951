"""What the report shows of a frame: crops to compare, and the matched offsets as arrows."""

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
from twostagealign.evaluation.results import FrameResult, Shifts
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular

CROP = (300, 400)
"""Height and width of what is shown pixel by pixel; smaller frames are shown whole."""

OVERVIEW_WIDTH = 640
"""Of the picture under the arrows."""

ARROW_REACH = 0.45
"""How much of a tile's side the longer arrows are drawn over."""


@dataclass(frozen=True)
class Layer:
    """A picture as a data URI.

    Attributes:
        label: what it is, in few words.
        alt: what it is, for those who do not see it.
        uri: the picture.
        group: which run it belongs to, if it is shown together with that run only.
    """

    label: str
    alt: str
    uri: str
    group: int | None = None


@dataclass(frozen=True)
class Arrows:
    """Offsets of all tiles in one neighbour.

    Attributes:
        frame: name of the neighbour.
        path: SVG path, raw pixels.
        median: x and y over the tiles, raw pixels, as text.
    """

    frame: str
    path: str
    median: str


@dataclass(frozen=True)
class RunOffsets:
    """Offsets that one run found.

    Attributes:
        run: its name.
        quality: PSNR and SSIM of the restored frame, as text; empty where there is no ground truth.
        gain: how much longer the arrows are than the offsets.
        arrows: for each neighbour.
    """

    run: str
    quality: str
    gain: int
    arrows: Sequence[Arrows]


@dataclass(frozen=True)
class ShownFrame:
    """All that is shown of a frame.

    Attributes:
        clip: its clip.
        frame: its name.
        size: bytes of all pictures.
        crop: width and height of the layers and residuals, pixels.
        corner: x and y of the crop in the frame, pixels.
        raw_size: width and height of the raw planes.
        layers: pictures to compare; the first is the noisy reference, the second the restored one.
        residuals: one for each run; none where there is no ground truth.
        overview: the whole reference frame, small.
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


def show_frame(folder: Path, runs: Sequence[tuple[str, str, FrameResult]]) -> ShownFrame:
    """Read and encode what there is to see of a frame.

    Args:
        folder: that the names of pictures are relative to.
        runs: for each run that has pictures of this frame its name, its noise level, and its result.

    Returns:
        Crops at the place with most detail, without loss; overview and residual compressed with some.

    Raises:
        UserError: a file cannot be read.
    """
    _, first_noise, first = runs[0]
    noisy = read_picture(folder / first.pictures.noisy)
    y, x = find_detail(read_picture(folder / (first.pictures.truth or first.pictures.restored)), CROP)
    height, width = (min(side, whole) for side, whole in zip(CROP, noisy.shape, strict=False))
    several = len(runs) > 1
    place = f"frame {first.frame} of clip {first.clip}"

    def crop(name: str, label: str, words: str, group: int | None = None, quality: int | None = None) -> Layer:
        pixels = read_picture(folder / name)[y : y + height, x : x + width]
        return Layer(label, f"{words}, {place}, crop", data_uri(pixels, quality), group)

    layers, residuals, offsets, noises = [], [], [], set()
    for group, (run, noise, frame) in enumerate(runs):
        if noise not in noises:
            layers.append(crop(frame.pictures.noisy, f"noisy ({noise})", f"noisy reference, noise {noise}"))
            noises.add(noise)
        name = f"restored ({run})" if several else "restored"
        layers.append(crop(frame.pictures.restored, name, name))
        if frame.pictures.residual:
            words = "residual, four times amplified about mid-grey"
            residuals.append(crop(frame.pictures.residual, run, f"{words}, {run}", group, quality=80))
        offsets.append(read_offsets(folder / frame.pictures.shifts, run, frame))
    if first.pictures.truth:
        layers.append(crop(first.pictures.truth, "ground truth", "ground truth"))
    small = cv2.resize(noisy, _fit(noisy.shape[1], noisy.shape[0]), interpolation=cv2.INTER_AREA)
    overview = Layer("noisy reference", f"noisy reference, noise {first_noise}, whole {place}", data_uri(small, 75))
    pictures = [*layers, *residuals, overview]
    raw_size = (noisy.shape[1] // 2, noisy.shape[0] // 2)
    size = sum(len(picture.uri) for picture in pictures)
    shapes = (width, height), (x, y), raw_size
    return ShownFrame(first.clip, first.frame, size, *shapes, layers, residuals, overview, offsets)


def _fit(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, OVERVIEW_WIDTH / width)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def find_detail(picture: np.ndarray, size: tuple[int, int]) -> tuple[int, int]:
    """Find the window with the strongest gradients.

    Args:
        picture: 8 bits, (height, width, 3).
        size: height and width of the window.

    Returns:
        y and x of its top left corner; 0 along a side that the window is no shorter than.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    # On a smaller picture, where the gradients are those of structures and not of single pixels.
    quarter = (max(grey.shape[1] // 4, 1), max(grey.shape[0] // 4, 1))
    small = cv2.resize(grey, quarter, interpolation=cv2.INTER_AREA).astype(np.float32)
    strength = np.hypot(cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1))
    height, width = (max(min(side // 4, whole), 1) for side, whole in zip(size, small.shape, strict=True))
    sums = cv2.integral(strength)
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    row, column = np.unravel_index(np.argmax(inside), inside.shape)
    places = zip((row, column), picture.shape, size, strict=False)
    y, x = (int(min(4 * place, max(whole - side, 0))) for place, whole, side in places)
    return y, x


def data_uri(picture: np.ndarray, quality: int | None = None) -> str:
    """Encode a picture as WebP in a data URI.

    Args:
        picture: RGB, (height, width, 3) uint8.
        quality: 0 to 100; None: without loss.
    """
    buffer = io.BytesIO()
    settings = {"lossless": True, "method": 2} if quality is None else {"quality": quality}
    Image.fromarray(np.ascontiguousarray(picture)).save(buffer, format="WEBP", **settings)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def read_offsets(path: Path, run: str, frame: FrameResult) -> RunOffsets:
    """Read the offsets of a frame's tiles and draw them.

    Raises:
        UserError: the file cannot be read.
    """
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
    quality = "" if frame.psnr is None else f"{frame.psnr:.2f} dB, SSIM {frame.ssim:.4f}"
    return RunOffsets(run, quality, gain, arrows)


def _middle(origin: tuple[int, int], shifts: Shifts) -> tuple[float, float]:
    """Middle of what the frame holds of a tile: the last ones of a row or column may reach beyond it."""
    y, x = ((start + min(start + shifts.patch, side)) / 2 for start, side in zip(origin, shifts.size, strict=True))
    return y, x


def _arrow(y: float, x: float, dy: float, dx: float, patch: int) -> str:
    """SVG path of an arrow; of nothing but a point where there is no offset."""
    length = math.hypot(dy, dx)
    if length == 0:
        return f"M{x:g} {y:g}h0"
    head = min(0.4 * length, 0.1 * patch) / length
    tip = (x + dx, y + dy)
    left, right = ((tip[0] - head * (dx - s * dy / 2), tip[1] - head * (dy + s * dx / 2)) for s in (1, -1))
    points = (f"{a:.1f} {b:.1f}" for a, b in ((x, y), tip, left, tip, right))
    return "M{} L{} M{} L{} L{}".format(*points)
