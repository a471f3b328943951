"""Figure of the demo: pictures side by side, a detail of each, and matched against true offsets of the tiles."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from twostagealign.restoration.frame import RestoredFrame
from twostagealign.restoration.quality import Quality, find_detail
from twostagealign.runtime.files import write_atomically

TOLERANCE = 4
"""Largest error of a match that counts as found, raw pixels: one pixel of the feature maps."""

# Layout of the figure, inches.
DPI = 100
WIDTH = 18.0
MARGIN = 0.3
GAP = 0.12
TITLE = 0.45
CAPTION = 0.75
PLOTS = 3.4

ACCENT, TRUE, MATCHED, MISSING = "#00b8d9", "#212529", "#1971c2", "#ced4da"


@dataclass(frozen=True)
class Panel:
    """Picture in a comparison: title, 8-bit RGB of the size of all, and measures (None for the ground truth)."""

    name: str
    picture: np.ndarray
    quality: Quality | None = None


@dataclass(frozen=True)
class TileOffsets:
    """Offsets of the tiles of the reference frame in each frame, raw pixels, [y, x].

    Attributes:
        true: true offsets, the same for all tiles, (N, 2).
        matched: offsets found by block matching, (P, N, 2).
        visible: whether the whole tile is inside that frame and can be found, (P, N), bool.
    """

    true: np.ndarray
    matched: np.ndarray
    visible: np.ndarray

    def median(self) -> list[list[float] | None]:
        """Return the median offset [y, x] of the visible tiles in each frame; None if no tile is visible."""
        return [
            np.median(self.matched[seen, frame], axis=0).tolist() if seen.any() else None
            for frame, seen in enumerate(self.visible.T)
        ]

    def count_found(self) -> tuple[int, int]:
        """Count the visible tiles in the neighbours that were found, and all visible ones."""
        found = (np.abs(self.matched - self.true) <= TOLERANCE).all(axis=2) & self.visible
        neighbours = np.arange(len(self.true)) != len(self.true) // 2
        return int(found[:, neighbours].sum()), int(self.visible[:, neighbours].sum())


def compare_offsets(restored: RestoredFrame, true: np.ndarray, patch: int) -> TileOffsets:
    """Compare the matches of a restored frame with the true motion, (N, 2) [y, x] in raw pixels."""
    size = np.array(restored.image.shape[1:]) // 2
    corners = restored.origins.numpy()[:, None]
    inside = (corners + true >= 0) & (np.minimum(corners + patch, size) + true <= size)
    return TileOffsets(true, restored.shifts.numpy(), inside.all(axis=2))


def draw_comparison(path: Path, title: str, panels: Sequence[Panel], offsets: TileOffsets | None) -> None:
    """Write the figure as a PNG, 1800 pixels wide.

    Args:
        path: file to write.
        title: title of the figure.
        panels: pictures from left to right; the detail is chosen in the last one.
        offsets: offsets of the tiles; None: no plot of offsets.
    """
    height, width = panels[-1].picture.shape[:2]
    column = (WIDTH - 2 * MARGIN - (len(panels) - 1) * GAP) / len(panels)
    row = column * height / width
    total = 2 * MARGIN + TITLE + CAPTION + 2 * row + GAP + (PLOTS if offsets else 0)
    figure = Figure(figsize=(WIDTH, total), dpi=DPI)

    def place(left: float, top: float, wide: float, high: float) -> Axes:
        """Add axes; distances from the upper left corner of the figure, and sizes, in inches."""
        return figure.add_axes((left / WIDTH, 1 - (top + high) / total, wide / WIDTH, high / total))

    figure.text(MARGIN / WIDTH, 1 - MARGIN / total, title, fontsize=19, weight="bold", va="top")
    window = (height // 4, width // 4)
    y, x = find_detail(panels[-1].picture, window)
    top = MARGIN + TITLE + CAPTION
    for index, panel in enumerate(panels):
        left = MARGIN + index * (column + GAP)
        whole = place(left, top, column, row)
        whole.imshow(panel.picture, interpolation="antialiased", aspect="auto")
        whole.add_patch(Rectangle((x, y), window[1], window[0], fill=False, edgecolor=ACCENT, linewidth=2))
        whole.set_axis_off()
        _caption(whole, panel)
        detail = place(left, top + row + GAP, column, row)
        crop = panel.picture[y : y + window[0], x : x + window[1]]
        detail.imshow(crop, interpolation="nearest", aspect="auto")
        detail.set(xticks=[], yticks=[])
        detail.spines[:].set(edgecolor=ACCENT, linewidth=2)
    if offsets:
        _draw_offsets(place, total - MARGIN - PLOTS, offsets)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png"))


def _caption(axes: Axes, panel: Panel) -> None:
    quality = panel.quality
    measures = f"PSNR {quality.psnr:.2f} dB   SSIM {quality.ssim:.3f}" if quality else "reference frame without noise"
    for text, points, weight, colour in ((panel.name, 27, "bold", "black"), (measures, 7, "normal", "#495057")):
        corner, above = (0, 1), (0, points)
        axes.annotate(text, corner, above, "axes fraction", "offset points", fontsize=11, weight=weight, color=colour)


def _draw_offsets(place: Callable[[float, float, float, float], Axes], top: float, offsets: TileOffsets) -> None:
    """Plot the shift of every tile in every frame, along x and along y."""
    frames = np.arange(len(offsets.true))
    names = [f"frame {frame}" for frame in frames]
    names[len(names) // 2] += "\n(reference)"
    # Tiles often have equal offsets: spread them within their frame.
    spread = frames + np.linspace(-0.25, 0.25, len(offsets.matched))[:, None]
    labels, legend, above, below = 0.8, 3.4, 0.8, 0.6
    wide = (WIDTH - 2 * MARGIN - legend) / 2 - labels
    for index, (axis, name) in enumerate(((1, "horizontal"), (0, "vertical"))):
        axes = place(MARGIN + labels + index * (wide + labels), top + above, wide, PLOTS - above - below)
        axes.hlines(offsets.true[:, axis], frames - 0.35, frames + 0.35, color=TRUE, linewidth=2, label="true shift")
        for chosen, colour, label in (
            (offsets.visible, MATCHED, "matched tile"),
            (~offsets.visible, MISSING, "matched tile whose content\nis not all in that frame"),
        ):
            axes.plot(spread[chosen], offsets.matched[..., axis][chosen], "o", color=colour, markersize=6, label=label)
        axes.set_title(f"Matched offsets, {name}", loc="left", fontsize=14, weight="bold")
        axes.set_ylabel("raw pixels", fontsize=12)
        axes.set_xticks(frames, names)
        axes.tick_params(labelsize=12)
        axes.margins(y=0.1)
        axes.grid(axis="y", color="#e9ecef")
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    found, visible = offsets.count_found()
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.02, 1),
        frameon=False,
        fontsize=13,
        title=f"{found} of {visible} tiles found\nwithin {TOLERANCE} raw pixels",
        title_fontproperties={"size": 14, "weight": "bold"},
        alignment="left",
    )
