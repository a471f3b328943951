"""Tables and plots of measurements by shift, as the ablation and the comparison of networks share them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twostagealign.runtime.files import write_atomically
from twostagealign.studies.ablation.cells import Cell

# Okabe and Ito's palette, suitable for colour-blind readers; markers also tell the lines apart.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#000000", "marker": "s"},
    {"color": "#E69F00", "marker": "v"},
    {"color": "#56B4E9", "marker": "D"},
    {"color": "#CC79A7", "marker": "^"},
    {"color": "#D55E00", "marker": "o"},
    {"color": "#009E73", "marker": "X"},
)


@dataclass(frozen=True)
class Line:
    """A line of the plot.

    Attributes:
        methods: names of the methods in the cells. The line is the mean of all; of several, each has its marks.
        style: arguments of `Axes.plot`.
    """

    methods: Sequence[str]
    style: Mapping[str, Any]


def draw_by_shift(path: Path, cells: Sequence[Cell], lines: Mapping[str, Line]) -> None:
    """Plot mean PSNR against shift: a row per group of scenes, a panel per noise level.

    Args:
        path: PNG file.
        cells: measurements. Those of scenes in their own motion are left out.
        lines: label -> line.
    """
    cells = [cell for cell in cells if cell.shift is not None]
    groups, levels = (list(dict.fromkeys(getattr(cell, key) for cell in cells)) for key in ("group", "noise"))
    figure = Figure(figsize=(11, 0.9 + 3.5 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(levels), sharex=True, sharey="row", squeeze=False)
    for group, row in zip(groups, panels, strict=True):
        for noise, axis in zip(levels, row, strict=True):
            _draw_panel(axis, [cell for cell in cells if (cell.group, cell.noise) == (group, noise)], lines)
            axis.set_title(f"{group}, {noise} noise", fontsize=10)
        row[0].set_ylabel("PSNR (dB)")
    for axis in panels[-1]:
        axis.set_xlabel("shift from frame to frame (raw pixels)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))


def _draw_panel(axis: Axes, cells: Sequence[Cell], lines: Mapping[str, Line]) -> None:
    shifts = sorted({cell.shift for cell in cells if cell.shift is not None})
    for label, line in lines.items():
        runs = [
            [mean(cell.psnr for cell in cells if (cell.method, cell.shift) == (method, shift)) for shift in shifts]
            for method in line.methods
        ]
        means = [mean(values) for values in zip(*runs, strict=True)]
        axis.plot(shifts, means, label=label, markersize=5 if len(runs) == 1 else 0, **line.style)
        for values in runs if len(runs) > 1 else []:
            axis.plot(shifts, values, markersize=5, **{**line.style, "linestyle": ""})
    axis.set_xticks(shifts)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
