"""Formats of the numbers in the table on the screen and in the report."""

from dataclasses import dataclass
from statistics import fmean

from twostagealign.evaluation.results import Comparison, Run, Seconds
from twostagealign.metrics import display_name

_UNITS = {"psnr": " (dB)"}

_DECIMALS = {"psnr": 3, "ssim": 5}
_USUAL_DECIMALS = 4


@dataclass(frozen=True)
class Cost:
    """Mean seconds of a frame of a run by part of the work, and peak memory in GiB, as text."""

    seconds: dict[str, str]
    resident: str
    device: str | None


def number(value: float | None, decimals: int) -> str:
    """A number as text; a dash for None."""
    return "-" if value is None else f"{value:.{decimals}f}"


def grouped(value: int) -> str:
    """An integer as text, its digits in groups of three."""
    return f"{value:,}".replace(",", " ")


def heading(metric: str, part: str = "all") -> str:
    """Heading of the column of a metric, for one of `PARTS`."""
    name = display_name(metric)
    return f"{name}{_UNITS.get(metric, '')}" if part == "all" else f"{name} {part}"


def measured(metric: str, value: float | None) -> str:
    """A value of a metric, with as many decimals as are useful."""
    return number(value, _DECIMALS.get(metric, _USUAL_DECIMALS))


def difference(comparison: Comparison) -> tuple[str, str]:
    """Difference and interval of a comparison, as text."""
    decimals = _DECIMALS.get(comparison.metric, _USUAL_DECIMALS)
    value, low, high = (f"{x:+.{decimals}f}" for x in (comparison.difference, comparison.low, comparison.high))
    return value, f"{low} to {high}"


def cost(run: Run) -> Cost:
    """Summarise the cost of the frames of a run."""
    device = [frame.memory.device for frame in run.frames if frame.memory.device is not None]
    seconds = {part: fmean(getattr(frame.seconds, part) for frame in run.frames) for part in Seconds.model_fields}
    return Cost(
        seconds={part: number(value, 3) for part, value in seconds.items()},
        resident=_gib(max(frame.memory.resident for frame in run.frames)),
        device=_gib(max(device)) if device else None,
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.2f}"
