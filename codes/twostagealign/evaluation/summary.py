"""Means over frames and clips, the table on the screen, and results.csv."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from statistics import fmean

from twostagealign.evaluation.results import (
    METRICS,
    PARTS,
    Comparison,
    FrameResult,
    Mean,
    Results,
    Run,
    Seconds,
    Summary,
)
from twostagealign.evaluation.results_text import UNITS, cost, difference, grouped, measured

_CELLS_THAT_CALCULATE = re.compile(r"""(^|;)(?=[\s"]*['=+@＝＋－＠-]|[\t\r\n])""")
"""Where a cell begins with a sign that spreadsheets calculate. Where the comma is the decimal mark, `;` ends a cell."""


def summarise_clip(clip: str, frames: Sequence[FrameResult]) -> Summary:
    """Means over the frames of a clip."""
    parts = {"all": frames, **{part: [x for x in frames if x.part == part] for part in ("center", "border")}}
    return Summary(clip=clip, **{part: _mean(chosen, len(chosen)) for part, chosen in parts.items()})


def summarise_clips(clips: Sequence[Summary]) -> Summary:
    """Unweighted means over clips."""
    parts = {part: [getattr(clip, part) for clip in clips] for part in PARTS}
    return Summary(clip=None, **{part: _mean(means, sum(x.frames for x in means)) for part, means in parts.items()})


def _mean(entries: Sequence[FrameResult | Mean], frames: int) -> Mean:
    values = {metric: [getattr(x, metric) for x in entries if getattr(x, metric) is not None] for metric in METRICS}
    return Mean(frames=frames, **{metric: fmean(known) if known else None for metric, known in values.items()})


def results_table(results: Results) -> str:
    """The results as text for the screen."""
    lines = []
    for run in results.runs:
        level = "" if run.shot is None else f" (shot {run.shot:g}, read {run.read:g})"
        lines += [f"{results.dataset}, {run.checkpoint}, noise {run.noise}{level}", *_run_table(run, results.complete)]
        lines += [_cost_line(run, results.environment.device), ""]
    for checkpoint in results.checkpoints:
        flops = "" if checkpoint.tile_gflop is None else f", {checkpoint.tile_gflop:.2f} GFLOP per tile"
        lines.append(
            f"{checkpoint.label}: {checkpoint.network} with {grouped(checkpoint.parameters)} parameters{flops}, "
            f"feature net with {grouped(checkpoint.feature_parameters)}"
        )
    lines += [_comparison_line(comparison) for comparison in results.comparisons]
    lines += [f"note: {note}" for note in results.notes]
    return "\n".join(lines)


def _run_table(run: Run, complete: bool) -> list[str]:
    metrics = [metric for metric in METRICS if run.mean.all is not None and getattr(run.mean.all, metric) is not None]
    if not metrics:
        return [f"  {clip.clip}: {clip.all.frames} restored, no ground truth" for clip in run.clips]
    header = ["clip", "frames"] + [f"{UNITS[m] if p == 'all' else ''} {p}".strip() for m in metrics for p in PARTS]
    rows = [header]
    for summary in [*run.clips, run.mean]:
        cells = [measured(m, getattr(getattr(summary, part), m)) for m in metrics for part in PARTS]
        rows.append([summary.clip or "mean", str(summary.all.frames), *cells])
    if run.paper_psnr is not None and complete:
        rows.append(["paper", "", f"{run.paper_psnr:.2f}", *[""] * (len(header) - 3)])
    return _aligned(rows)


def _cost_line(run: Run, device: str) -> str:
    found = cost(run)
    seconds = ", ".join(f"{part} {value} s" for part, value in found.seconds.items())
    gpu = "" if found.device is None else f", {found.device} GiB on the GPU"
    return f"per frame: {seconds}; peak memory {found.resident} GiB{gpu}; {device}"


def _comparison_line(comparison: Comparison) -> str:
    value, interval = difference(comparison)
    return (
        f"{comparison.candidate} against {comparison.baseline}, noise {comparison.noise}: "
        f"{UNITS[comparison.metric]} {value}, {comparison.confidence:.0%} interval {interval} "
        f"({comparison.frames} frames)"
    )


def frames_csv(results: Results) -> str:
    """All frames as comma-separated values, a row each.

    A spreadsheet calculates text that begins with a sign such as "=", and names of clips may come from anybody. Such
    names, and those that begin with an apostrophe, get an apostrophe in front, the usual mark of a text; also behind a
    semicolon, where some spreadsheets begin a new cell.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    seconds = [f"{part}_seconds" for part in Seconds.model_fields]
    writer.writerow(["checkpoint", "noise", "clip", "frame", "index", "part", *METRICS, *seconds, "resident_bytes"])
    for run in results.runs:
        for frame in run.frames:
            measures = ["" if (value := getattr(frame, metric)) is None else value for metric in METRICS]
            times = [f"{getattr(frame.seconds, part):.4f}" for part in Seconds.model_fields]
            names = map(_spreadsheet_text, (run.checkpoint, run.noise, frame.clip, frame.frame))
            writer.writerow([*names, frame.index, frame.part, *measures, *times, frame.memory.resident])
    return text.getvalue()


def _spreadsheet_text(name: str) -> str:
    return _CELLS_THAT_CALCULATE.sub(r"\1'", name)


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"  {first:{widths[0]}}", *cells]).rstrip())
    return lines
