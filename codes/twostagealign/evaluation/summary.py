"""Means over frames and clips, the table on the screen, and results.csv."""

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
    measure_fields,
    metrics_of,
)
from twostagealign.evaluation.results_text import cost, difference, grouped, heading, measured
from twostagealign.runtime.csv_table import csv_table


def summarise_clip(clip: str, frames: Sequence[FrameResult]) -> Summary:
    """Means over the frames of a clip."""
    parts = {"all": frames, **{part: [x for x in frames if x.part == part] for part in ("center", "border")}}
    return Summary(clip=clip, **{part: _mean(chosen, len(chosen)) for part, chosen in parts.items()})


def summarise_clips(clips: Sequence[Summary]) -> Summary:
    """Unweighted means over clips."""
    parts = {part: [getattr(clip, part) for clip in clips] for part in PARTS}
    return Summary(clip=None, **{part: _mean(means, sum(x.frames for x in means)) for part, means in parts.items()})


def _mean(entries: Sequence[FrameResult | Mean], frames: int) -> Mean:
    means = {metric: fmean(known(entries, metric)) for metric in metrics_of(entries)}
    return Mean(frames=frames, **measure_fields(means))


def known(entries: Sequence[FrameResult | Mean], metric: str) -> list[float]:
    """Values of a metric, of the entries that have one."""
    return [value for entry in entries if (value := entry.value(metric)) is not None]


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
    metrics = metrics_of([run.mean.all])
    if not metrics:
        return [f"  {clip.clip}: {clip.all.frames} restored, no ground truth" for clip in run.clips]
    header = ["clip", "frames"] + [f"{heading(m) if p == 'all' else ''} {p}".strip() for m in metrics for p in PARTS]
    rows = [header]
    for summary in [*run.clips, run.mean]:
        cells = [measured(m, getattr(summary, part).value(m)) for m in metrics for part in PARTS]
        rows.append([summary.clip or "mean", str(summary.all.frames), *cells])
    if run.paper_psnr is not None and complete and metrics[0] == "psnr":
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
        f"{heading(comparison.metric)} {value}, {comparison.confidence:.0%} interval {interval} "
        f"({comparison.frames} frames)"
    )


def frames_csv(results: Results) -> str:
    """Write all frames as comma-separated values, a row each."""
    seconds = [f"{part}_seconds" for part in Seconds.model_fields]
    others = [metric for metric in metrics_of(x for run in results.runs for x in run.frames) if metric not in METRICS]
    metrics = [*METRICS, *others]
    header = ["checkpoint", "noise", "clip", "frame", "index", "part", *metrics, *seconds, "resident_bytes"]
    rows = []
    for run in results.runs:
        for frame in run.frames:
            names = (run.checkpoint, run.noise, frame.clip, frame.frame)
            measures = [frame.value(metric) for metric in metrics]
            times = [f"{getattr(frame.seconds, part):.4f}" for part in Seconds.model_fields]
            rows.append([*names, frame.index, frame.part, *measures, *times, frame.memory.resident])
    return csv_table(header, rows)


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [f"{cell:>{width}}" for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([f"  {first:{widths[0]}}", *cells]).rstrip())
    return lines
