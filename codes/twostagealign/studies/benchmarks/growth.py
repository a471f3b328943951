"""Benchmark of restoration time against pixels and frames, and of its stages, as numbers and plots."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.studies.benchmarks.measurement import Measurement, race
from twostagealign.studies.benchmarks.subjects import FRAME_720P, burst, tiny_restorer

SIZES = ((128, 128), (128, 256), (256, 256), (256, 512))
FRAMES = (3, 5, 7, 9)
"""Sizes of raw planes, with five frames; and numbers of frames, with the first size."""
TILINGS = {"REDS protocol": Tiling(), "--fast": FAST}


def benchmark_growth(
    plots: Path | None = None,
    sizes: Sequence[tuple[int, int]] = SIZES,
    frames: Sequence[int] = FRAMES,
    whole: tuple[int, int] = FRAME_720P,
    tilings: Mapping[str, Tiling] = TILINGS,
) -> Iterator[Measurement]:
    """Fit time = constant * amount ** exponent for the shipped checkpoint.

    Args:
        plots: folder for growth.png and stages.png; None: no plots.
        sizes: heights and widths of raw planes.
        frames: numbers of frames.
        whole: height and width of the raw planes for the times of the stages.
        tilings: tilings for the times of the stages; the first one also measures the growth.
    """
    restorer = tiny_restorer()
    pixels = [4 * height * width for height, width in sizes]
    series = {
        "pixels": (pixels, [(5, *size) for size in sizes]),
        "frames": (frames, [(number, *sizes[0]) for number in frames]),
    }
    tiling, *_ = tilings.values()
    curves = {}
    for name, (amounts, shapes) in series.items():
        times = race(*(partial(restore_frame, restorer, burst(*shape), tiling) for shape in shapes))
        curves[name] = (amounts, times, exponent(amounts, times))
        yield Measurement(f"nf 16, exponent of time over {name}", curves[name][2], "", at_most=1.05)
    stages = {}
    for name, tiling in tilings.items():
        stages[name] = restore_frame(restorer, burst(5, *whole), tiling).seconds
        total = sum(stages[name].values())
        for stage, seconds in stages[name].items():
            yield Measurement(f"nf 16, {name}, share of {stage}", 100 * seconds / total, "%")
    if plots:
        plots.mkdir(parents=True, exist_ok=True)
        _plot_growth(plots / "growth.png", curves)
        _plot_stages(plots / "stages.png", stages)


def exponent(amounts: Sequence[float], times: Sequence[float]) -> float:
    """Return the slope of the line through the points in a log-log plot.

    Example:
        >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
        2.0
    """
    return float(np.polyfit(np.log(amounts), np.log(times), 1)[0])


def _plot_growth(path: Path, curves: Mapping[str, tuple[Sequence[int], list[float], float]]) -> None:
    figure, axes = plt.subplots(1, len(curves), figsize=(9, 3.6), layout="constrained")
    for axis, (name, (amounts, times, slope)) in zip(axes, curves.items(), strict=True):
        axis.loglog(amounts, times, "o-", label=f"measured, exponent {slope:.2f}")
        linear = [times[0] * amount / amounts[0] for amount in amounts]
        axis.loglog(amounts, linear, "--", color="grey", label="linear")
        axis.set(xlabel=f"{name}{' of the picture' if name == 'pixels' else ' of the burst'}", ylabel="seconds")
        axis.set_xticks(amounts, [f"{amount:,}" for amount in amounts])
        axis.minorticks_off()
        axis.yaxis.set_major_formatter("{x:g}")
        axis.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _plot_stages(path: Path, stages: dict[str, dict[str, float]]) -> None:
    figure, axis = plt.subplots(figsize=(9, 2.2), layout="constrained")
    left = np.zeros(len(stages))
    for stage in next(iter(stages.values())):
        seconds = np.array([times[stage] for times in stages.values()])
        axis.barh(list(stages), seconds, left=left, label=stage)
        left += seconds
    axis.set(xlabel="seconds for a 720p frame, nf 16, five frames")
    axis.invert_yaxis()
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)
