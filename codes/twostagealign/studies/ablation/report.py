"""Tables and a plot of the ablation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.figure import Figure

from twostagealign.runtime.files import write_atomically
from twostagealign.studies.ablation.cells import Cell
from twostagealign.studies.ablation.methods import Method
from twostagealign.studies.ablation.scenes import NOISE
from twostagealign.studies.shift_plot import STYLES, Line, draw_by_shift, markdown_table

LOOKS = ("chroma_error", "texture_ratio", "texture_correlation")
NOT_DRAWN = ("demosaicking", "burst average")
"""Methods far below the others, which would squeeze the plot. The tables have all methods."""

SHIPPED: list[dict[str, Any]] = [
    {"color": "#000000", "linestyle": style} for style in (":", "--", "-.", (0, (6, 2)), "-")
]
BASELINES: list[dict[str, Any]] = [{"color": "#888888", "linestyle": style} for style in (":", "--")]


def tables(cells: Sequence[Cell], methods: Sequence[Method]) -> str:
    """Return Markdown tables of the mean PSNR of each method over each group of scenes."""
    trained = [[method.name, method.training] for method in methods if method.training]
    parts = [markdown_table(["variant", "trained for"], trained)] if trained else []
    for group in dict.fromkeys(cell.group for cell in cells):
        shifts = _shifts(cells, group)
        pictures = len({cell.picture for cell in cells if cell.group == group})
        if shifts == [None]:
            parts.append(f"PSNR (dB) on {group}, mean over {pictures} bursts:")
            rows = [[m.name, *(_mean(cells, m, group, None, noise) for noise in NOISE)] for m in methods]
            parts.append(markdown_table(["", *(f"{noise} noise" for noise in NOISE)], rows))
            continue
        for noise in NOISE:
            parts.append(
                f"PSNR (dB) on {group} at {noise} noise, mean over {pictures}, by the shift from frame to frame in raw "
                "pixels:"
            )
            rows = [[m.name, *(_mean(cells, m, group, shift, noise) for shift in shifts)] for m in methods]
            parts.append(markdown_table(["", *map(str, shifts)], rows))
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
        + markdown_table(["", "colour error", "texture energy", "texture correlation"], rows)
    )


def draw(path: Path, cells: Sequence[Cell], methods: Sequence[Method]) -> None:
    """Plot mean PSNR against shift: a line per method except `NOT_DRAWN`, a panel per noise level and group."""
    looks = [cycle(styles) for styles in (BASELINES, SHIPPED, STYLES)]
    drawn = [method for method in methods if method.name not in NOT_DRAWN]
    lines = {m.name: Line([m.name], next(looks[bool(m.weights) + bool(m.training)])) for m in drawn}
    draw_by_shift(path, cells, lines)


def _shifts(cells: Sequence[Cell], group: str) -> list[int | None]:
    return list(dict.fromkeys(cell.shift for cell in cells if cell.group == group))


def _mean(cells: Sequence[Cell], method: Method, group: str, shift: int | None, noise: str) -> str:
    key = (method.name, group, shift, noise)
    return f"{mean(c.psnr for c in cells if (c.method, c.group, c.shift, c.noise) == key):.2f}"


def table_by_number(cells: Sequence[Cell], methods: Sequence[Method]) -> str:
    """Return Markdown tables of mean PSNR over each group of scenes by the number of frames."""
    parts = []
    for group in dict.fromkeys(cell.group for cell in cells):
        own = [cell for cell in cells if cell.group == group]
        numbers, noise = list(dict.fromkeys(cell.frames for cell in own)), own[0].noise
        bursts = len({(cell.picture, cell.shift) for cell in own})
        parts.append(f"PSNR (dB) on {group} at {noise} noise, mean over {bursts}, by the number of frames:")
        rows = [[m.name, *(f"{_mean_of(own, m, number):.2f}" for number in numbers)] for m in methods]
        parts.append(markdown_table(["", *map(str, numbers)], rows))
    return "\n\n".join(parts) + "\n"


def draw_by_number(path: Path, cells: Sequence[Cell], methods: Sequence[Method]) -> None:
    """Plot mean PSNR against the number of frames, in one panel for each group of scenes."""
    groups = list(dict.fromkeys(cell.group for cell in cells))
    figure = Figure(figsize=(1.5 + 4.5 * len(groups), 4.2), layout="constrained")
    for group, axis in zip(groups, figure.subplots(1, len(groups), squeeze=False)[0], strict=True):
        own = [cell for cell in cells if cell.group == group]
        numbers = sorted({cell.frames for cell in own})
        for method, style in zip(methods, STYLES, strict=False):
            axis.plot(numbers, [_mean_of(own, method, number) for number in numbers], label=method.name, **style)
        axis.set_title(group, fontsize=10)
        axis.set_xticks(numbers)
        axis.set_xlabel("number of frames")
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel(f"PSNR (dB), {cells[0].noise} noise")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))


def _mean_of(cells: Sequence[Cell], method: Method, number: int) -> float:
    return mean(cell.psnr for cell in cells if (cell.method, cell.frames) == (method.name, number))
