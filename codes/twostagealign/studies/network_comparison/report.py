"""Tables and a plot of the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean

from twostagealign.studies.ablation.cells import Cell
from twostagealign.studies.network_comparison.costs import Cost
from twostagealign.studies.shift_plot import STYLES, Line, draw_by_shift, markdown_table

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
    parts = [markdown_table(head, lines)] if costs else []
    places = _places(cells)
    for noise in dict.fromkeys(cell.noise for cell in cells):
        parts.append(f"PSNR (dB) at {noise} noise, by the shift from frame to frame in raw pixels:")
        head = ["", *(group if shift is None else f"{group}, {shift}" for group, shift in places)]
        lines = [
            [name, *(", ".join(_means(cells, runs, group, shift, noise)) for group, shift in places)]
            for name, runs in rows.items()
        ]
        parts.append(markdown_table(head, lines))
    return "\n\n".join(parts) + "\n"


def draw(path: Path, cells: Sequence[Cell], rows: Rows) -> None:
    """Plot PSNR against shift: a line per row, the mean of its runs, and a mark for each run; a panel per group."""
    lines = zip(rows.items(), cycle(STYLES), strict=False)
    draw_by_shift(path, cells, {name: Line(methods, style) for (name, methods), style in lines})


def _mean(cells: Sequence[Cell], run: str, shift: int | None) -> float:
    return mean(cell.psnr for cell in cells if (cell.method, cell.shift) == (run, shift))


def _means(cells: Sequence[Cell], runs: Sequence[str], group: str, shift: int | None, noise: str) -> list[str]:
    """PSNR of each run, as text."""
    at = [cell for cell in cells if (cell.group, cell.noise) == (group, noise)]
    return [f"{_mean(at, run, shift):.2f}" for run in runs]


def _places(cells: Sequence[Cell]) -> list[tuple[str, int | None]]:
    """Groups and shifts, in the order of the cells."""
    return list(dict.fromkeys((cell.group, cell.shift) for cell in cells))
