"""Paired comparison of checkpoints, with bootstrap confidence intervals."""

from collections.abc import Mapping, Sequence

import numpy as np

from twostagealign.evaluation.results import Comparison, FrameResult, metrics_of

CONFIDENCE = 0.95
RESAMPLES = 10_000


def paired_bootstrap(
    differences: Sequence[Sequence[float]], confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Mean of paired differences, and the lower and upper end of its interval by percentile bootstrap.

    The frames of each clip are drawn again with replacement, as many as there are. The statistic is the mean over clips
    of the clips' means. The random numbers are the same in every call.

    Args:
        differences: for each clip, the difference at each of its frames.
        confidence: confidence level of the interval, in (0, 1).
        resamples: number of draws.

    Source: Efron, Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    from scipy.stats import bootstrap  # takes a second to import, and most programs do not compare

    clips = [np.asarray(clip, dtype=np.float64) for clip in differences]
    samples = [
        np.repeat(clip, 2) if len(clip) == 1 else clip for clip in clips
    ]  # SciPy needs two; the mean is the same

    def mean(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.mean([sample.mean(axis=axis) for sample in samples], axis=0)

    interval = bootstrap(
        samples,
        mean,
        n_resamples=resamples,
        confidence_level=confidence,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(mean(*clips)), float(interval.low), float(interval.high)


def compare(noise: str, baseline: str, candidate: str, frames: Mapping[str, Sequence[FrameResult]]) -> list[Comparison]:
    """Compare two checkpoints frame by frame, in each metric that both have.

    Args:
        noise: name of the noise level.
        baseline: label of a checkpoint.
        candidate: label of another checkpoint.
        frames: results of both at that noise level, by label.
    """
    first = {(frame.clip, frame.frame): frame for frame in frames[baseline]}
    comparisons = []
    for metric in metrics_of(frames[candidate]):
        differences: dict[str, list[float]] = {}
        for frame in frames[candidate]:
            other = first.get((frame.clip, frame.frame))
            before, after = other.value(metric) if other else None, frame.value(metric)
            if before is not None and after is not None:
                differences.setdefault(frame.clip, []).append(after - before)
        if differences:
            mean, low, high = paired_bootstrap(list(differences.values()))
            comparisons.append(
                Comparison(
                    noise=noise,
                    metric=metric,
                    baseline=baseline,
                    candidate=candidate,
                    difference=mean,
                    low=low,
                    high=high,
                    confidence=CONFIDENCE,
                    frames=sum(map(len, differences.values())),
                )
            )
    return comparisons
