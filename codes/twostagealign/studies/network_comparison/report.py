"""Tables and a plot of the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twostagealign.runtime.files import write_atomically
from twostagealign.studies.ablation.cells import Cell
from twostagealign.studies.network_comparison.costs import Cost

# Okabe and Ito's palette, suitable for colour-blind readers; markers also tell the lines apart.
STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#000000", "marker": "s"},
    {"color": "#E69F00", "marker": "v"},
    {"color": "#56B4E9", "marker": "D"},
    {"color": "#CC79A7", "marker": "^"},
    {"color": "#D55E00", "marker": "o"},
    {"color": "#009E73", "marker": "X"},
    {"color": "#888888", "marker": ""},
)

Rows = Mapping[str, Sequence[str]]
"""Name of a network or method -> names of the methods in the cells that are its runs."""


def tables(cells: Sequence[Cell], rows: Rows, costs: Mapping[str, Cost]) -> str:
    """Return Markdown tables.

    Args:
        cells: measurements.
        rows: rows of the tables of quality. A row has the PSNR of each of its runs.
        costs: name of a network -> its cost.
    """
    head = ["network", "`nf`", "parameters", "GFLOP per frame", "CPU seconds per frame"]
    lines = [
        [
            name,
            str(cost.network.get("nf", "")),
            f"{cost.parameters:,}".replace(",", " "),
            "" if cost.gflop is None else f"{cost.gflop:.0f}",
            f"{cost.seconds:.1f}",
        ]
        for name, cost in costs.items()
    ]
    parts = [_table(head, lines)] if costs else []
    places = _places(cells)
    for noise in dict.fromkeys(cell.noise for cell in cells):
        parts.append(f"PSNR (dB) at {noise} noise, by the shift from frame to frame in raw pixels:")
        head = ["", *(group if shift is None else f"{group}, {shift}" for group, shift in places)]
        lines = [
            [name, *(", ".join(_means(cells, runs, group, shift, noise)) for group, shift in places)]
            for name, runs in rows.items()
        ]
        parts.append(_table(head, lines))
    return "\n\n".join(parts) + "\n"


def draw(path: Path, cells: Sequence[Cell], rows: Rows) -> None:
    """Plot PSNR against shift: a line per row, the mean of its runs, and a mark for each run; a panel per group."""
    shifted = [cell for cell in cells if cell.shift is not None]
    groups, levels = (list(dict.fromkeys(getattr(cell, key) for cell in shifted)) for key in ("group", "noise"))
    figure = Figure(figsize=(9, 0.9 + 3.5 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(levels), sharex=True, sharey="row", squeeze=False)
    for group, line in zip(groups, panels, strict=True):
        for noise, axis in zip(levels, line, strict=True):
            _draw_panel(axis, [cell for cell in shifted if (cell.group, cell.noise) == (group, noise)], rows)
            axis.set_title(f"{group}, {noise} noise", fontsize=10)
        line[0].set_ylabel("PSNR (dB)")
    for axis in panels[-1]:
        axis.set_xlabel("shift from frame to frame (raw pixels)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))


def _draw_panel(axis: Axes, cells: Sequence[Cell], rows: Rows) -> None:
    shifts = sorted({cell.shift for cell in cells if cell.shift is not None})
    for (name, runs), style in zip(rows.items(), STYLES, strict=False):
        of_runs = [[_mean(cells, run, shift) for shift in shifts] for run in runs]
        axis.plot(shifts, [mean(values) for values in zip(*of_runs, strict=True)], label=name, markersize=0, **style)
        for values in of_runs:
            axis.plot(shifts, values, linestyle="", markersize=5, **style)
    axis.set_xticks(shifts)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _mean(cells: Sequence[Cell], run: str, shift: int | None) -> float:
    return mean(cell.psnr for cell in cells if (cell.method, cell.shift) == (run, shift))


def _means(cells: Sequence[Cell], runs: Sequence[str], group: str, shift: int | None, noise: str) -> list[str]:
    """PSNR of each run, as text."""
    at = [cell for cell in cells if (cell.group, cell.noise) == (group, noise)]
    return [f"{_mean(at, run, shift):.2f}" for run in runs]


def _places(cells: Sequence[Cell]) -> list[tuple[str, int | None]]:
    """Groups and shifts, in the order of the cells."""
    return list(dict.fromkeys((cell.group, cell.shift) for cell in cells))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
