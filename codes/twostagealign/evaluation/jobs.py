"""Choice of the frames of a data set that an evaluation restores."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from twostagealign.data import NoiseLevel, UniformSequence, frame_window
from twostagealign.data.evaluation_set import EvaluationSet
from twostagealign.evaluation.results import Skipped
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import Ranks


@dataclass(frozen=True)
class Job:
    """A frame to restore: its clip, the indices of the frames of its burst, and whether to write pictures."""

    clip: UniformSequence
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
        """Border if the window would reach beyond the clip, else center."""
        reach = len(self.window) // 2
        return "center" if reach <= self.index < len(self.clip.frames) - reach else "border"

    @property
    def names(self) -> list[str]:
        """Names of the frames of the burst."""
        return [self.clip.frames[index] for index in self.window]


def choose_clips(clips: Sequence[str], usual: Sequence[str] | None, wanted: Sequence[str] | None) -> list[str]:
    """Choose the clips to evaluate, and return their names.

    Args:
        clips: names of all clips in the data set's folder.
        usual: names of the clips that belong to the data set; None: all. Missing ones are left out.
        wanted: names of the clips that the user asks for; None: the usual ones.

    Raises:
        UserError: a wanted clip is missing, or all usual ones are.
    """
    available = ", ".join(clips)
    if wanted is not None:
        for clip in wanted:
            if clip not in clips:
                raise UserError(f"--clips: found {clip!r}, expected some of {available}")
        return [clip for clip in clips if clip in wanted]
    if usual is None:
        return list(clips)
    chosen = [clip for clip in clips if clip in usual]
    if not chosen:
        raise UserError(
            f"--data: found the clips {available}, expected some of {', '.join(usual or ())} (or choose by --clips)"
        )
    return chosen


def open_sequences(
    dataset: EvaluationSet, names: Sequence[str], noise: NoiseLevel | None, skip_bad: bool
) -> tuple[list[UniformSequence], list[Skipped]]:
    """Open clips; return them, and the skipped ones.

    Args:
        dataset: data set that contains them.
        names: names of the clips.
        noise: noise level; None where the frames have noise.
        skip_bad: leave out clips that cannot be opened.

    Raises:
        UserError: a clip cannot be opened, or none can.
    """
    clips: list[UniformSequence] = []
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
    clips: Sequence[UniformSequence],
    frames: int,
    limit: int | None,
    pictures: int,
) -> list[Job]:
    """List the frames to restore, clip by clip.

    Args:
        clips: clips of the data set, at one noise level.
        frames: number of frames of a burst.
        limit: number of frames per clip, from the first one; None: all.
        pictures: number of frames per clip of which pictures are written, spread evenly.
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
    """Read every needed file, so that a damaged one is found before the work starts.

    Args:
        jobs: frames to restore.
        ranks: the processes, which share the files.
        workers: number of threads per process.

    Raises:
        UserError: a file cannot be used. The message names the first one, on all ranks.
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
    clips: Sequence[UniformSequence],
    limit: int | None,
    skipped: Sequence[Skipped],
) -> list[str]:
    """Describe the parts of a data set that were not evaluated, one line for each kind of gap.

    Args:
        expected: names of the clips that belong to the data set.
        length: number of frames of each of them; None: any.
        clips: clips that were evaluated.
        limit: number of frames per clip that were evaluated; None: all.
        skipped: skipped inputs, clip by clip.
    """
    found = [clip.name for clip in clips]
    left_out = [entry.clip for entry in skipped if entry.frame is None]  # these have a line of their own
    missing = [x for x in expected if x not in found and x not in left_out]
    foreign = [x for x in found if x not in expected]
    lines = []
    if missing:
        lines.append(f"not complete: {len(missing)} of {len(expected)} clips are missing ({', '.join(missing)})")
    if foreign:
        lines.append(f"not the data set: {len(foreign)} clips do not belong to it ({', '.join(foreign)})")
    for clip in clips:
        if length is not None and clip.name in expected and len(clip.frames) != length:
            lines.append(f"not complete: clip {clip.name} has {len(clip.frames)} frames, the data set {length}")
    if limit is not None and any(limit < len(clip.references) for clip in clips):
        lines.append(f"not complete: at most {limit} frames of each clip were evaluated (--limit)")
    for (clip, reason), entries in groupby(skipped, key=lambda x: (x.clip, x.reason)):
        frames = [entry.frame for entry in entries if entry.frame is not None]
        what = f"clip {clip}"
        if frames:  # all frames whose bursts need the same file
            what = f"frame{'s' if len(frames) > 1 else ''} {', '.join(frames)} of {what}"
        lines.append(f"not complete: left out {what} (--skip-bad): {reason}")
    return lines
