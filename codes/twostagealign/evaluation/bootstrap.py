"""Whether one checkpoint is better than another, or only luckier with the frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from twostagealign.evaluation.results import METRICS, Comparison, FrameResult

CONFIDENCE = 0.95
RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean difference and its confidence interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    differences: Sequence[Sequence[float]], confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> Interval:
    """Percentile bootstrap of a mean of paired differences.

    The frames of each clip are drawn again with replacement, as many as there are; the statistic is the mean over clips
    of the clips' means. The draw is the same every time.

    Args:
        differences: for each clip, the difference at each of its frames.
        confidence: of the interval, in (0, 1).
        resamples: how often to draw.

    Returns:
        The mean over clips of the clips' means, and its interval.

    Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    random = np.random.default_rng(0)
    clips = [np.asarray(clip, dtype=np.float64) for clip in differences]
    means = np.mean([random.choice(clip, (resamples, len(clip))).mean(axis=1) for clip in clips], axis=0)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(np.mean([clip.mean() for clip in clips])), float(low), float(high))


def compare(noise: str, baseline: str, candidate: str, frames: Mapping[str, Sequence[FrameResult]]) -> list[Comparison]:
    """Compare two checkpoints frame by frame.

    Args:
        noise: name of the noise level.
        baseline: label of a checkpoint.
        candidate: label of another.
        frames: results of both at that noise level, by label.

    Returns:
        One comparison for each metric that both have been measured by.
    """
    first = {(frame.clip, frame.frame): frame for frame in frames[baseline]}
    comparisons = []
    for metric in METRICS:
        differences: dict[str, list[float]] = {}
        for frame in frames[candidate]:
            before, after = (getattr(x, metric, None) for x in (first.get((frame.clip, frame.frame)), frame))
            if before is not None and after is not None:
                differences.setdefault(frame.clip, []).append(after - before)
        if differences:
            found = paired_bootstrap(list(differences.values()))
            comparisons.append(
                Comparison(
                    noise=noise,
                    metric=metric,
                    baseline=baseline,
                    candidate=candidate,
                    difference=found.mean,
                    low=found.low,
                    high=found.high,
                    confidence=CONFIDENCE,
                    frames=sum(map(len, differences.values())),
                )
            )
    return comparisons
