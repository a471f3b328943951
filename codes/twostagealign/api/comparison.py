"""Before and after a restoration, for a display that shows tiles of large pictures."""

from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import torch

from twostagealign.api.bursts import RawBurst
from twostagealign.api.result import Result
from twostagealign.isp import Tone
from twostagealign.restoration.outputs import Brightness, Rendering, automatic_brightness, default_tone
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.memory import give_back_memory

Side = Literal["before", "after"]

TILE = 512
"""Side of a tile, pixels of the display."""
_BAND = 64  # rows that are computed at a time: the whole of a large picture may have to be shrunk


@dataclass(frozen=True)
class Look:
    """How a restored picture is shown and saved. None of it needs the network.

    Attributes:
        strength: 1: the restored picture; 0: the demosaicked reference frame; between them, a blend in linear RGB.
        brightness: exposure correction, EV, or "auto"; see `Result.render`.
        tone: tone curve, see `Result.render`; None: the usual one.

    Raises:
        ValueError: a value is out of range.
    """

    strength: float = 1.0
    brightness: Brightness = 0.0
    tone: Tone | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength: found {self.strength:g}, expected 0 to 1")
        if self.brightness != "auto" and not -10 <= self.brightness <= 10:
            raise ValueError(f"brightness: found {self.brightness:g}, expected -10 to 10 EV, or 'auto'")
        if self.tone is not None and self.tone not in get_args(Tone):
            raise ValueError(f"tone: found {self.tone!r}, expected one of {', '.join(get_args(Tone))}")


class Comparison:
    """The reference frame of a burst, demosaicked, and what has been restored of it.

    Args:
        burst: the burst.
    """

    def __init__(self, burst: RawBurst) -> None:
        self.metadata = burst.source.metadata(burst.reference)
        self.default_tone = default_tone(burst.frames)
        self.automatic_brightness = automatic_brightness(burst.frames)
        self._before = burst.demosaicked().astype(np.float16)  # enough for a display, in half the memory
        self._after: np.ndarray | None = None
        self._turn = _turn(burst)
        give_back_memory()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, upright."""
        height, width = self._before.shape[:2]
        return height, width

    def show(self, linear: np.ndarray | None) -> None:
        """Show a restored picture, or a part of it, as "after".

        Args:
            linear: linear camera RGB, (height, width, 3), upright; NaN where it is not restored yet. It may change
                later. None: nothing is restored yet.
        """
        self._after = linear

    def tile(self, side: Side, level: int, row: int, column: int, look: Look) -> np.ndarray:
        """Render a tile: sRGB, (at most TILE, at most TILE, 3) uint8.

        Args:
            side: "before", the demosaicked reference frame, or "after". What is not restored yet looks as before.
            level: the picture is shown at 1 / 2 ** level of its size.
            row: number of the tile from the top.
            column: number of the tile from the left.
            look: brightness and tone curve; "after" also strength.

        Raises:
            ValueError: there is no such tile.
        """
        step = TILE << level if 0 <= level < 16 else 0
        height, width = self.size
        if not (0 <= row * step < height and 0 <= column * step < width and step):
            raise ValueError(f"tile: found level {level}, row {row}, column {column}, which is outside the picture")
        after = self._after if side == "after" else None
        columns = slice(column * step, (column + 1) * step)
        band = max(_BAND, 1 << level)
        small = [
            _shrink(self._pixels((slice(top, top + band), columns), after, look.strength), level)
            for top in range(row * step, min((row + 1) * step, height), band)
        ]
        baseline = self.metadata.exposure.baseline
        stops = self.automatic_brightness if look.brightness == "auto" else look.brightness + baseline
        linear = torch.from_numpy(np.concatenate(small)).permute(2, 0, 1)
        return Rendering(look.tone or self.default_tone, stops).pixels(linear, self.metadata.camera)

    def _pixels(self, place: tuple[slice, slice], after: np.ndarray | None, strength: float) -> np.ndarray:
        """Linear RGB of a part of the picture; before restoration if `after` is None or NaN."""
        before = self._before[place].astype(np.float32)
        if after is None or not strength:
            return before
        restored = np.where(np.isnan(after[place]), before, after[place])
        return restored if strength == 1 else before + np.float32(strength) * (restored - before)

    def matches(self, result: Result, tiling: Tiling) -> np.ndarray:
        """Place the patches of a result in the picture, for drawing.

        Args:
            result: the result.
            tiling: sizes of the tiles that it was made with.

        Returns:
            For each frame of the burst and each patch: x and y of the patch's centre in the reference frame, and by
            how much its match lies further right and further down in the frame, in pixels of the upright picture;
            (N, patches, 4), float64.
        """
        rows, columns = result.shifts.shape[:2]
        grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1).reshape(-1, 2)
        centres = 2 * tiling.patch * (grid + 0.5)  # [y, x] as the sensor recorded them
        shifts = 2 * result.shifts.reshape(len(grid), -1, 2).swapaxes(0, 1)
        turn, corner = self._turn
        placed = np.broadcast_to((centres - corner) @ turn, shifts.shape)
        return np.concatenate([placed[..., ::-1], (shifts @ turn)[..., ::-1]], axis=-1)


def _shrink(pixels: np.ndarray, level: int) -> np.ndarray:
    """Average blocks of 2 ** level pixels on each side; at the right and lower border, they are filled up."""
    if not level:
        return pixels
    block = 1 << level
    height, width = pixels.shape[:2]
    full = cv2.copyMakeBorder(pixels, 0, -height % block, 0, -width % block, cv2.BORDER_REPLICATE)
    size = (full.shape[1] // block, full.shape[0] // block)
    return np.asarray(cv2.resize(full, size, interpolation=cv2.INTER_AREA), np.float32)


def _turn(burst: RawBurst) -> tuple[np.ndarray, np.ndarray]:
    """Find how a burst's pictures are turned and cropped.

    Returns:
        Matrix (2, 2) and corner (2,): [y, x] of the upright picture = ([y, x] of the sensor - corner) @ matrix.
    """
    height, width = (2 * side for side in burst.frames.size)
    axes = (np.arange(height)[:, None], np.arange(width))
    y, x = (burst.source.finish(np.broadcast_to(axis, (height, width)), burst.reference) for axis in axes)
    corner = np.array([y[0, 0], x[0, 0]])
    turn = np.array([[y[1, 0], x[1, 0]], [y[0, 1], x[0, 1]]]) - corner
    return turn.T, corner
