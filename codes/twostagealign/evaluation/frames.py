"""Restoration and measurement of one frame of an evaluation, and its pictures."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from twostagealign.data import Burst, write_picture
from twostagealign.evaluation.candidates import Candidate
from twostagealign.evaluation.jobs import Job
from twostagealign.evaluation.results import (
    LARGEST,
    FrameResult,
    Memory,
    Pictures,
    Seconds,
    Shifts,
    measure_fields,
    write_record,
)
from twostagealign.isp import demosaic
from twostagealign.metrics import NamedMetric
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, to_uint8
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.memory import give_back_memory, memory_used

RESIDUAL_GAIN = 4
"""Amplification of the residual, so that it is visible."""


def evaluate_frame(
    candidate: Candidate,
    job: Job,
    burst: Burst,
    tiling: Tiling,
    metrics: Sequence[NamedMetric],
    stem: Path,
    root: Path,
    progress: Callable[[int], object],
) -> FrameResult:
    """Restore the reference frame of a burst and measure it.

    Args:
        candidate: checkpoint that restores the frame.
        job: frame to restore.
        burst: burst around the frame.
        tiling: sizes of the tiles.
        metrics: what is measured.
        stem: common start of the paths of its pictures.
        root: folder that the names of pictures in the result are relative to.
        progress: function called with the number of tiles just finished.

    Raises:
        UserError: the result or a measure is not finite, or the pictures cannot be written.
    """
    clip = job.clip
    restored = restore_frame(candidate.restorer, burst, tiling, progress)
    give_back_memory()
    if not restored.image.isfinite().all():
        raise UserError(
            f"{candidate.description.file}: found numbers that are not finite where it restored frame {job.frame} of "
            f"clip {clip.name}, expected a picture (with --dtype float16: try bfloat16)"
        )
    device = next(candidate.restorer.parameters()).device
    srgb = develop(restored.image, clip.camera)
    truth = develop(burst.target(), clip.camera) if burst.has_target else None
    pictures = None
    if job.with_pictures:
        shifts = Shifts(
            size=clip.size,
            patch=tiling.patch,
            window=job.names,
            origins=restored.origins.tolist(),
            shifts=restored.shifts.tolist(),
        )
        noisy = develop(demosaic(burst.reference.raw()), clip.camera)
        pictures = _write_pictures(stem, root, noisy, srgb, truth, shifts)
    return FrameResult(
        **measure_fields({metric.name: _measure(metric, srgb, truth) for metric in metrics}),
        clip=clip.name,
        frame=job.frame,
        index=job.index,
        part=job.part,
        window=job.names,
        seconds=Seconds(**restored.seconds),
        memory=Memory(**asdict(memory_used(device))),
        pictures=pictures,
    )


def _measure(metric: NamedMetric, srgb: Tensor, truth: Tensor | None) -> float | None:
    value = metric.measure(srgb, truth)
    if value is not None and not abs(value) <= LARGEST:  # NaN, too
        raise UserError(f"metric {metric.name}: found {value:g}, expected a number of at most {LARGEST:g}")
    return value


def _write_pictures(
    stem: Path, root: Path, noisy: Tensor, restored: Tensor, truth: Tensor | None, shifts: Shifts
) -> Pictures:
    """Write the pictures and the matched shifts of a frame, and name the files relative to `root`."""
    pixels = {"noisy": to_uint8(noisy), "restored": to_uint8(restored)}
    if truth is not None:
        residual = (0.5 + RESIDUAL_GAIN * (restored - truth)).clamp_(0, 1)
        pixels["truth"] = to_uint8(truth)
        pixels["residual"] = residual.mul_(255).round_().byte().permute(1, 2, 0).numpy()
    names: dict[str, str] = {}
    for kind, values in pixels.items():
        path = stem.with_name(f"{stem.name}_{kind}.png")
        write_picture(path, values)
        names[kind] = path.relative_to(root).as_posix()
    path = stem.with_name(f"{stem.name}_shifts.json")
    write_record(path, shifts)
    return Pictures(
        noisy=names["noisy"],
        restored=names["restored"],
        truth=names.get("truth"),
        residual=names.get("residual"),
        shifts=path.relative_to(root).as_posix(),
    )
