"""Many bursts, each restored into a folder of its own, with an index page and a table of all."""

import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from twostagealign.data.picture_files import encode_jpeg
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.burst_index import PAGE, write_index
from twostagealign.restoration.burst_list import BurstInput
from twostagealign.restoration.burst_record import (
    THUMBNAIL,
    BurstRecord,
    read_burst_record,
    write_burst_record,
)
from twostagealign.restoration.folder import Request, load_restorer, restore_folder
from twostagealign.restoration.input import check_output
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, sha256, write_atomically, write_json
from twostagealign.runtime.identity import check_identity, identity_digest
from twostagealign.runtime.locks import folder_lock
from twostagealign.runtime.ranks import SHARE_TIMEOUT, Ranks, join_ranks
from twostagealign.runtime.warning_log import collect_warnings

IDENTITY = "identity.json"
_THUMBNAIL_SIDE = 320


def restore_bursts(bursts: Sequence[BurstInput], output: Path, request: Request, resume: bool = False) -> bool:
    """Restore bursts, alone or together with the other processes of torchrun, which share them out.

    A burst that cannot be restored does not end the others. Writes OUTPUT/BURST/ for each burst, with its pictures and
    burst.json, and OUTPUT/index.html and OUTPUT/bursts.csv.

    Args:
        bursts: the bursts.
        output: folder for the results.
        request: how each burst is restored.
        resume: leave out bursts that an earlier restoration with the same settings has finished.

    Returns:
        Whether this is the process that speaks for the job.

    Raises:
        UserError: the checkpoint cannot be used, the output cannot be written or belongs to another restoration; or
            bursts could not be restored, after all others were.
    """
    for burst in bursts:
        for folder in (output, output / burst.name):
            check_output(burst.files, folder)
    with join_ranks(timeout=SHARE_TIMEOUT) as ranks, folder_lock(output) if ranks.rank == 0 else nullcontext():
        _restore_share(bursts, output, request, resume, ranks)
        return ranks.rank == 0


def _restore_share(bursts: Sequence[BurstInput], output: Path, request: Request, resume: bool, ranks: Ranks) -> None:
    identity, resume = _identity(request), resume or ranks.restarted
    if ranks.rank == 0:
        if resume and (output / IDENTITY).exists():
            check_identity(output / IDENTITY, identity, "--output")
        output_folder(output)
        write_json(output / IDENTITY, identity)
        ranks.begin()
    ranks.wait()
    job, restorer = identity_digest(identity), None
    for burst in ranks.share(bursts):
        folder = output / burst.name
        record = read_burst_record(folder)
        if resume and record and _is_finished(record, job, burst, folder):
            continue
        restorer = restorer or load_restorer(request, ranks.device(request.device))
        write_burst_record(output_folder(folder), _restore(restorer, burst, folder, request, job))
    ranks.wait()
    records = [(burst.name, read_burst_record(output / burst.name)) for burst in bursts]
    failed = [(name, record.error if record else "no record") for name, record in records if not record or record.error]
    if ranks.rank == 0:
        write_index(output, [(name, record) for name, record in records if record])
    ranks.wait()
    if failed:
        name, error = failed[0]
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        count = f"{len(failed)} of {len(bursts)} bursts"
        raise UserError(f"{count} not restored: {name}: {error}{others}; see {output / PAGE}")


def _identity(request: Request) -> dict[str, Any]:
    """Settings that the results depend on."""
    files = [path for path in (request.checkpoint, request.features_checkpoint) if path]
    left_out = {"checkpoint", "features_checkpoint", "device", "cuda_graphs"}
    settings = {key: value for key, value in asdict(request).items() if key not in left_out}
    return {"checkpoints": [sha256(path) for path in files], **settings}


def _is_finished(record: BurstRecord, job: str, burst: BurstInput, folder: Path) -> bool:
    same = record.error is None and record.job == job and record.files == burst.fingerprint()
    return same and all((folder / name).is_file() for name in record.pictures)


def _restore(restorer: TwoStageRestorer, burst: BurstInput, folder: Path, request: Request, job: str) -> BurstRecord:
    """Restore a burst, and describe what was done, or why it could not be."""
    start = time.perf_counter()
    files = burst.fingerprint()
    thumbnail = folder / THUMBNAIL
    thumbnail.unlink(missing_ok=True)

    def take(picture: np.ndarray) -> None:
        if not thumbnail.exists():
            _write_thumbnail(thumbnail, picture)

    with collect_warnings() as warnings:
        try:
            result = restore_folder(burst.files, folder, request, restorer, take)
        except UserError as error:
            seconds = round(time.perf_counter() - start, 3)
            return BurstRecord(job=job, files=files, seconds=seconds, warnings=warnings, error=str(error))
    frames = result["frames"]
    first = next(frame for frame in result["inputs"] if frame["name"] == frames[0]["name"])
    return BurstRecord(
        job=job,
        files=files,
        pictures=[frame["files"][0] for frame in frames],
        frames=result["window"],
        reference=[frame["name"] for frame in frames],
        captured=first["captured"],
        exposure=first["exposure"]["seconds"],
        iso=first["exposure"]["iso"],
        shot=first["noise"]["shot"],
        read=first["noise"]["read"],
        seconds=round(time.perf_counter() - start, 3),
        warnings=warnings,
    )


def _write_thumbnail(path: Path, picture: np.ndarray) -> None:
    if picture.dtype != np.uint8:
        picture = (picture >> 8).astype(np.uint8)
    height, width = picture.shape[:2]
    scale = min(1.0, _THUMBNAIL_SIDE / max(height, width))
    size = (max(round(scale * width), 1), max(round(scale * height), 1))
    content = encode_jpeg(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
