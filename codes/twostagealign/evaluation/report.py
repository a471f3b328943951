"""Report of an evaluation: results.json and the saved pictures as one self-contained HTML file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.ticker import MaxNLocator

from twostagealign.evaluation.report_pictures import PicturedResult, ShownFrame, show_frame
from twostagealign.evaluation.results import PARTS, Comparison, Results, Run, Summary, metrics_of
from twostagealign.evaluation.results_folder import REPORT
from twostagealign.evaluation.results_text import cost, difference, grouped, heading, measured, number
from twostagealign.runtime.files import write_atomically
from twostagealign.runtime.yaml_file import dump_yaml

PICTURE_BUDGET = 8_000_000
"""Bytes of embedded pictures. Further frames are left in the folder, but at least one is shown."""

# The curves, in units of their viewBox.
WIDTH, HEIGHT = 360, 190
LEFT, RIGHT, TOP, BOTTOM = 48, 8, 10, 34


@dataclass(frozen=True)
class Cell:
    """A cell of a table: the value in results.json, which columns are sorted by, and the text that is shown."""

    value: str | float | None
    text: str


@dataclass(frozen=True)
class Curve:
    """PSNR of one run over the frames of a clip; points are (x, y, text)."""

    name: str
    color: int
    points: Sequence[tuple[float, float, str]]


@dataclass(frozen=True)
class Plot:
    """Plot of the curves of one clip; ticks are (position, label)."""

    clip: str
    curves: Sequence[Curve]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    description: str


def write_report(folder: Path, results: Results) -> Path:
    """Write report.html, the report of an evaluation, into the folder of its results, and return its path."""
    html = render(results, *choose_frames(folder, results, PICTURE_BUDGET))
    path = folder / REPORT
    write_atomically(path, lambda temporary: temporary.write_text(html, encoding="utf-8"))
    return path


def render(results: Results, shown: Sequence[ShownFrame], left_out: int) -> str:
    """Render the page as HTML.

    Args:
        results: results of the evaluation.
        shown: frames that are shown with pictures.
        left_out: number of further frames with pictures.
    """
    environment = Environment(
        loader=PackageLoader("twostagealign.evaluation", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    metrics = metrics_of(run.mean.all for run in results.runs)
    columns = _columns(metrics, with_checkpoint=len(results.checkpoints) > 1)
    clip_rows, mean_rows = _rows(results, columns, metrics)
    return environment.get_template("report.html").render(
        results=results,
        measured=bool(metrics),
        columns=columns,
        clip_rows=clip_rows,
        mean_rows=mean_rows,
        plots=[plot for clip in _clips(results) if (plot := _plot(results, clip))],
        plot_size=(WIDTH, HEIGHT, LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM),
        run_names=run_names(results),
        named_noises={run.noise: run for run in results.runs},
        comparisons=[_comparison(comparison) for comparison in results.comparisons],
        costs=[(run, cost(run)) for run in results.runs],
        grouped=grouped,
        shown=shown,
        left_out=left_out,
        options=dump_yaml(results.options),
    )


def choose_frames(folder: Path, results: Results, budget: int) -> tuple[list[ShownFrame], int]:
    """Choose as many frames with pictures as fit: the first one of every clip, then the second ones.

    Args:
        folder: folder of the results.
        results: results of the evaluation.
        budget: bytes of embedded pictures.

    Returns:
        The frames in the order of clips, and the number of frames that are left out.
    """
    by_frame: dict[tuple[str, str], list[PicturedResult]] = {}
    for run, name in zip(results.runs, run_names(results), strict=True):
        for frame in run.frames:
            if frame.pictures is not None:
                found = PicturedResult(name, run.noise, frame, frame.pictures)
                by_frame.setdefault((frame.clip, frame.frame), []).append(found)
    seen: dict[str, int] = {}
    ranked = []
    for clip, frame_name in by_frame:
        seen[clip] = seen.get(clip, 0) + 1
        ranked.append((seen[clip], clip, frame_name))
    shown: list[ShownFrame] = []
    for _, clip, frame_name in sorted(ranked):
        candidate = show_frame(folder, by_frame[clip, frame_name])
        budget -= candidate.size
        if shown and budget < 0:
            break
        shown.append(candidate)
    return sorted(shown, key=lambda x: (x.clip, x.frame)), len(by_frame) - len(shown)


def run_names(results: Results) -> list[str]:
    """Shortest names that tell the runs apart."""
    several_checkpoints, several_noises = len(results.checkpoints) > 1, len({run.noise for run in results.runs}) > 1
    if several_checkpoints and several_noises:
        return [f"{run.checkpoint}, {run.noise}" for run in results.runs]
    return [run.checkpoint if several_checkpoints else run.noise for run in results.runs]


def _clips(results: Results) -> list[str]:
    return list(dict.fromkeys(clip.clip for run in results.runs for clip in run.clips if clip.clip is not None))


def _columns(metrics: Iterable[str], with_checkpoint: bool) -> list[tuple[str, bool]]:
    """Header of every column, and whether it contains numbers."""
    names = [heading(metric, part) for metric in metrics for part in PARTS]
    texts = ["Clip", "Checkpoint", "Noise"] if with_checkpoint else ["Clip", "Noise"]
    return [(name, False) for name in texts] + [(name, True) for name in (*names, "Frames", "s per frame")]


def _rows(results: Results, columns: Sequence[tuple[str, bool]], metrics: Sequence[str]) -> list[list[list[Cell]]]:
    """Rows of the clips; rows of the means and of the paper."""

    def row(clip: str, run: Run, *cells: Cell) -> list[Cell]:
        texts = [clip, run.checkpoint, run.noise] if ("Checkpoint", False) in columns else [clip, run.noise]
        missing = [_text("")] * (len(columns) - len(texts) - len(cells))
        return [*map(_text, texts), *cells, *missing]

    def numbers(run: Run, summary: Summary) -> list[Cell]:
        values = [(metric, getattr(summary, part).value(metric)) for metric in metrics for part in PARTS]
        frames = [frame for frame in run.frames if summary.clip in (None, frame.clip)]
        seconds = fmean(sum(frame.seconds.model_dump().values()) for frame in frames) if frames else None
        cells = [Cell(value, measured(metric, value)) for metric, value in values]
        return [*cells, _number(summary.all.frames, 0), _number(seconds, 2)]

    clips = [row(clip.clip or "", run, *numbers(run, clip)) for run in results.runs for clip in run.clips]
    means = []
    for run in results.runs:
        means.append(row("mean", run, *numbers(run, run.mean)))
        if run.paper_psnr is not None and results.complete and metrics[:1] == ["psnr"]:
            means.append(row("paper", run, _number(run.paper_psnr, 2)))
    return [clips, means]


def _text(text: str) -> Cell:
    return Cell(text, text)


def _number(value: float | None, decimals: int) -> Cell:
    return Cell(value, number(value, decimals))


def _comparison(comparison: Comparison) -> dict[str, str]:
    value, interval = difference(comparison)
    return {
        "what": f"{comparison.candidate} − {comparison.baseline}",
        "noise": comparison.noise,
        "metric": heading(comparison.metric),
        "difference": value,
        "interval": interval,
        "confidence": f"{comparison.confidence:.0%}",
        "frames": str(comparison.frames),
    }


def _plot(results: Results, clip: str) -> Plot | None:
    """Plot of a clip; None where nothing was measured."""
    series = []  # color, name, and (index, frame, PSNR) of every frame
    for color, (run, name) in enumerate(zip(results.runs, run_names(results), strict=True)):
        frames = [(x.index, x.frame, x.psnr) for x in run.frames if x.clip == clip and x.psnr is not None]
        if frames:
            series.append((color, name, sorted(frames)))
    if not series:
        return None
    indices = [index for _, _, frames in series for index, _, _ in frames]
    values = [psnr for _, _, frames in series for _, _, psnr in frames]
    x_ticks = MaxNLocator(6, integer=True).tick_values(min(indices), max(indices))
    y_ticks = MaxNLocator(4).tick_values(min(values), max(values))  # extends beyond the extremes
    first, last, low, high = min(indices), max(indices), y_ticks[0], y_ticks[-1]

    def x(index: float) -> float:
        return round(LEFT + 6 + (WIDTH - RIGHT - LEFT - 12) * (index - first) / max(last - first, 1), 2)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / (high - low), 2)

    curves = [
        Curve(
            name, color, [(x(index), y(psnr), f"{name}, frame {frame}: {psnr:.3f} dB") for index, frame, psnr in frames]
        )
        for color, name, frames in series
    ]
    means = (f"{name} {fmean(psnr for *_, psnr in frames):.2f} dB on average" for _, name, frames in series)
    return Plot(
        clip,
        curves,
        [(x(tick), f"{tick:g}") for tick in x_ticks if first <= tick <= last],
        [(y(tick), f"{tick:g}") for tick in y_ticks],
        f"PSNR over frames {first} to {last} of clip {clip}: {'; '.join(means)}",
    )
