"""Tables and a plot of the ablation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from twostagealign.runtime.files import write_atomically
from twostagealign.studies.ablation.cells import Cell
from twostagealign.studies.ablation.methods import Method
from twostagealign.studies.ablation.scenes import NOISE

LOOKS = ("chroma_error", "texture_ratio", "texture_correlation")
NOT_DRAWN = ("demosaicking", "burst average")
"""Methods far below the others, which would squeeze the plot. The tables have all methods."""

# Okabe and Ito's palette, suitable for colour-blind readers; markers also tell the lines apart.
VARIANTS = [
    {"color": "#000000", "marker": "s"},
    {"color": "#E69F00", "marker": "v"},
    {"color": "#56B4E9", "marker": "D"},
    {"color": "#CC79A7", "marker": "^"},
    {"color": "#D55E00", "marker": "o"},
    {"color": "#009E73", "marker": "X"},
]
SHIPPED = [{"color": "#000000", "linestyle": style} for style in (":", "--", "-")]
BASELINES = [{"color": "#888888", "linestyle": style} for style in (":", "--")]


def tables(cells: Sequence[Cell], methods: Sequence[Method]) -> str:
    """Return Markdown tables of the mean PSNR of each method over each group of scenes."""
    trained = [[method.name, method.training] for method in methods if method.training]
    parts = [_table(["variant", "trained for"], trained)] if trained else []
    for group in dict.fromkeys(cell.group for cell in cells):
        shifts = _shifts(cells, group)
        pictures = len({cell.picture for cell in cells if cell.group == group})
        if shifts == [None]:
            parts.append(f"PSNR (dB) on {group}, mean over {pictures} bursts:")
            rows = [[m.name, *(_mean(cells, m, group, None, noise) for noise in NOISE)] for m in methods]
            parts.append(_table(["", *(f"{noise} noise" for noise in NOISE)], rows))
            continue
        for noise in NOISE:
            parts.append(
                f"PSNR (dB) on {group} at {noise} noise, mean over {pictures}, by the shift from frame to frame in raw "
                "pixels:"
            )
            rows = [[m.name, *(_mean(cells, m, group, shift, noise) for shift in shifts)] for m in methods]
            parts.append(_table(["", *map(str, shifts)], rows))
    parts += [_look_table(cells, methods, group) for group in dict.fromkeys(cell.group for cell in cells)]
    return "\n\n".join(parts) + "\n"


def _look_table(cells: Sequence[Cell], methods: Sequence[Method], group: str) -> str:
    """What PSNR does not see, at the highest noise level, mean over all bursts of a group."""
    noise = next(iter(NOISE))
    rows = []
    for method in methods:
        found = [cell for cell in cells if (cell.method, cell.group, cell.noise) == (method.name, group, noise)]
        values = ([getattr(cell, name) for cell in found] for name in LOOKS)
        rows.append([method.name, *("" if None in each else f"{mean(each):.2f}" for each in values)])
    return (
        f"Blotches and fine texture on {group} at {noise} noise, mean over all bursts: error of colour in even areas "
        "(8-bit levels), energy of fine texture (share of the ground truth's), its correlation with it:\n\n"
        + _table(["", "colour error", "texture energy", "texture correlation"], rows)
    )


def draw(path: Path, cells: Sequence[Cell], methods: Sequence[Method]) -> None:
    """Plot mean PSNR against shift: a line per method except `NOT_DRAWN`, a panel per noise level and group."""
    groups = [group for group in dict.fromkeys(cell.group for cell in cells) if _shifts(cells, group) != [None]]
    looks = [cycle(styles) for styles in (BASELINES, SHIPPED, VARIANTS)]
    styles = {m.name: next(looks[bool(m.weights) + bool(m.training)]) for m in methods if m.name not in NOT_DRAWN}
    figure = Figure(figsize=(11, 0.9 + 3.5 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), len(NOISE), sharex=True, sharey="row", squeeze=False)
    for group, row in zip(groups, panels, strict=True):
        for noise, axis in zip(NOISE, row, strict=True):
            _draw_panel(axis, [cell for cell in cells if (cell.group, cell.noise) == (group, noise)], styles)
            axis.set_title(f"{group}, {noise} noise", fontsize=10)
        row[0].set_ylabel("PSNR (dB)")
    for axis in panels[-1]:
        axis.set_xlabel("shift from frame to frame (raw pixels)")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))


def _draw_panel(axis: Axes, cells: Sequence[Cell], styles: dict[str, dict[str, Any]]) -> None:
    shifts = [shift for shift in _shifts(cells, cells[0].group) if shift is not None]
    for name, style in styles.items():
        means = [mean(c.psnr for c in cells if (c.method, c.shift) == (name, shift)) for shift in shifts]
        axis.plot(shifts, means, markersize=5, label=name, **style)
    axis.set_xticks(shifts)
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)


def _shifts(cells: Sequence[Cell], group: str) -> list[int | None]:
    return list(dict.fromkeys(cell.shift for cell in cells if cell.group == group))


def _mean(cells: Sequence[Cell], method: Method, group: str, shift: int | None, noise: str) -> str:
    key = (method.name, group, shift, noise)
    return f"{mean(c.psnr for c in cells if (c.method, c.group, c.shift, c.noise) == key):.2f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str | None]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
