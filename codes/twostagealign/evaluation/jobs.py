"""Which frames of a data set an evaluation restores."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from twostagealign.data import FrameSequence, NoiseLevel, frame_window
from twostagealign.data.evaluation_set import EvaluationSet
from twostagealign.evaluation.results import Skipped
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import Ranks


@dataclass(frozen=True)
class Job:
    """A frame to restore.

    Attributes:
        clip: clip that it is part of.
        window: indices of the frames of its burst.
        with_pictures: whether its pictures are to be written.
    """

    clip: FrameSequence
    window: list[int]
    with_pictures: bool

    @property
    def index(self) -> int:
        """Index of the reference frame."""
        return self.window[len(self.window) // 2]

    @property
    def frame(self) -> str:
        """Name of the reference frame."""
        return self.clip.frames[self.index]

    @property
    def part(self) -> Literal["center", "border"]:
        """Border: the window would reach beyond the clip."""
        reach = len(self.window) // 2
        return "center" if reach <= self.index < len(self.clip.frames) - reach else "border"

    @property
    def names(self) -> list[str]:
        """Names of the frames of the burst."""
        return [self.clip.frames[index] for index in self.window]


def choose_clips(clips: Sequence[str], usual: Sequence[str] | None, wanted: Sequence[str] | None) -> list[str]:
    """Choose the clips to evaluate.

    Args:
        clips: all that the data set's folder holds.
        usual: those that make the data set, as far as they are there; None: all.
        wanted: those that the user asks for; None: the usual ones.

    Returns:
        Their names.

    Raises:
        UserError: one that is wanted is not there, or none of the usual ones is.
    """
    there = ", ".join(clips)
    if wanted is not None:
        for clip in wanted:
            if clip not in clips:
                raise UserError(f"--clips: found {clip!r}, expected some of {there}")
        return [clip for clip in clips if clip in wanted]
    chosen = [clip for clip in clips if usual is None or clip in usual]
    if not chosen:
        raise UserError(f"--data: found the clips {there}, expected some of {', '.join(usual)} (or choose by --clips)")
    return chosen


def open_sequences(
    dataset: EvaluationSet, names: Sequence[str], noise: NoiseLevel | None, skip_bad: bool
) -> tuple[list[FrameSequence], list[Skipped]]:
    """Open clips.

    Args:
        dataset: data set that contains them.
        names: names of the clips.
        noise: noise level; None where the frames have noise.
        skip_bad: leave out what cannot be opened.

    Returns:
        The clips, and what was left out.

    Raises:
        UserError: a clip cannot be used, or none can.
    """
    clips: list[FrameSequence] = []
    skipped: list[Skipped] = []
    for name in names:
        try:
            clips.append(dataset.open(name, noise))
        except UserError as error:
            if not skip_bad:
                raise
            skipped.append(Skipped(clip=name, frame=None, reason=str(error)))
    if not clips:
        raise UserError(f"--skip-bad: found no clip that can be used; the first problem: {skipped[0].reason}")
    return clips, skipped


def plan_jobs(
    clips: Sequence[FrameSequence],
    frames: int,
    limit: int | None,
    pictures: int,
) -> list[Job]:
    """List the frames to restore.

    Args:
        clips: clips of the data set, at one noise level.
        frames: length of a burst.
        limit: frames per clip, the first ones; None: all.
        pictures: of how many frames per clip pictures are written; they are spread evenly.

    Returns:
        All frames, clip by clip.
    """
    jobs = []
    for clip in clips:
        references = clip.references[:limit]
        shown = {references[(2 * k + 1) * len(references) // (2 * pictures)] for k in range(pictures)}
        for index in references:
            window = frame_window(index, len(clip.frames), frames)
            jobs.append(Job(clip, window, index in shown))
    return jobs


def check_files(jobs: Sequence[Job], ranks: Ranks, workers: int) -> None:
    """Read every file that is needed, so that a damaged one is found before the work and not in the middle of it.

    Raises:
        UserError: for the first file that cannot be used; on all ranks.
    """
    needed = list(dict.fromkeys((job.clip.name, index) for job in jobs for index in job.window))
    clips = {job.clip.name: job.clip for job in jobs}

    def problem(entry: tuple[str, int]) -> str | None:
        clip, index = entry
        try:
            clips[clip].check(index)
        except UserError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        found = [text for text in pool.map(problem, sorted(ranks.share(needed))) if text]
    problems = ranks.gather(found)
    if problems:
        raise UserError(sorted(problems)[0])


def describe_gaps(
    expected: Sequence[str],
    length: int | None,
    clips: Sequence[FrameSequence],
    limit: int | None,
    skipped: Sequence[Skipped],
) -> list[str]:
    """Say what of a data set was not evaluated.

    Args:
        expected: names of the clips that make the data set.
        length: frames of each; None: however many there are.
        clips: that were evaluated.
        limit: frames per clip that were evaluated, if fewer than all.
        skipped: what was left out, clip by clip.

    Returns:
        A line for each kind of gap; none if the data set is complete.
    """
    found = [clip.name for clip in clips]
    left_out = [entry.clip for entry in skipped if entry.frame is None]  # has a line of its own
    missing = [x for x in expected if x not in found and x not in left_out]
    foreign = [x for x in found if x not in expected]
    lines = []
    if missing:
        lines.append(f"not complete: {len(missing)} of {len(expected)} clips are missing ({', '.join(missing)})")
    if foreign:
        lines.append(f"not the data set: {len(foreign)} clips are no part of it ({', '.join(foreign)})")
    for clip in clips:
        if length is not None and clip.name in expected and len(clip.frames) != length:
            lines.append(f"not complete: clip {clip.name} has {len(clip.frames)} frames, the data set {length}")
    if limit is not None and any(limit < len(clip.references) for clip in clips):
        lines.append(f"not complete: at most {limit} frames of each clip were evaluated (--limit)")
    for (clip, reason), entries in groupby(skipped, key=lambda x: (x.clip, x.reason)):
        frames = [entry.frame for entry in entries if entry.frame is not None]
        what = f"clip {clip}"
        if frames:  # all those whose bursts need the same file
            what = f"frame{'s' if len(frames) > 1 else ''} {', '.join(frames)} of {what}"
        lines.append(f"not complete: left out {what} (--skip-bad): {reason}")
    return lines
