"""The folder of an evaluation. Every finished frame is on disk, with the evaluation that it belongs to.

results/NAME/identity.json                                data, checkpoints and settings of the evaluation
results/NAME/frames/CHECKPOINT/NOISE/CLIP/FRAME.json      a finished frame, beside its pictures if asked for
results/NAME/results.json                                 all results, written last; results.csv, tb/, options.yml
results/NAME/report.html                                  if asked for
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch.utils.tensorboard import SummaryWriter

from twostagealign.evaluation.results import FrameResult, Results, metrics_of, write_record
from twostagealign.evaluation.summary import frames_csv
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, read_regular, write_atomically, write_json
from twostagealign.runtime.identity import check_identity, identity_digest
from twostagealign.runtime.yaml_file import dump_yaml

IDENTITY = "identity.json"
RESULTS = "results.json"
REPORT = "report.html"
_RECORD_BYTES = 2**24
"""Largest size of the record of a frame."""
_EARLIER_METRICS = ["psnr", "ssim"]
"""Metrics of evaluations by earlier versions, in which they could not be chosen."""


class _FrameRecord(FrameResult):
    """Content of the file of a finished frame."""

    evaluation: str | None = None  # `identity_digest` of the evaluation that wrote it; early ones wrote none


class ResultsFolder:
    """results/NAME.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, identity: Mapping[str, Any], resume: bool) -> None:
        """Prepare the folder for an evaluation. The caller holds the lock of the folder.

        Args:
            identity: JSON values that describe data, checkpoints and settings of the evaluation.
            resume: keep the finished frames, for which the identity must be the same. Otherwise an existing folder is
                renamed to NAME_archived_TIME, so that nothing is overwritten.

        Raises:
            UserError: the folder cannot be written, or its identity is another one or damaged.
        """
        if resume and (self.path / IDENTITY).exists():
            before = check_identity(self.path / IDENTITY, identity, "--name", {"metrics": _EARLIER_METRICS})
            if "metrics" not in before:
                self._adopt_frames(identity_digest(before), identity_digest(identity))
        elif self.path.exists():
            archive = self.path.with_name(f"{self.path.name}_archived_{time.strftime('%Y%m%d_%H%M%S')}")
            try:
                self.path.rename(archive)
            except OSError as error:
                raise UserError(f"{self.path}: cannot be renamed to {archive.name} ({error.strerror})") from error
        output_folder(self.path)
        for name in (RESULTS, REPORT):  # their presence means that the evaluation is finished
            _remove(self.path / name)
        write_json(self.path / IDENTITY, identity)

    def frame_file(self, checkpoint: str, noise: str, clip: str, frame: str) -> Path:
        """File of a finished frame. The names of its pictures begin with the frame's, too."""
        return self.path / "frames" / checkpoint / noise / clip / f"{frame}.json"

    def write_frame(self, file: Path, evaluation: str, result: FrameResult) -> None:
        """Record a finished frame in a file from `frame_file`, with the `identity_digest` of its evaluation."""
        write_record(file, _FrameRecord(**dict(result), evaluation=evaluation))

    def finished(
        self, file: Path, evaluation: str, index: int, window: list[str], pictures: bool
    ) -> FrameResult | None:
        """Read the record of a frame that this evaluation has finished.

        Args:
            file: from `frame_file`.
            evaluation: `identity_digest` of the evaluation.
            index: index of the frame in its clip. It must not have changed, since the protocol's noise depends on it.
            window: names of the frames of the burst, which must not have changed.
            pictures: whether the frame's pictures must exist.

        Returns:
            The result; None if there is no record, or it is damaged or of another evaluation.
        """
        try:
            record = _FrameRecord.model_validate_json(read_regular(file, _RECORD_BYTES, "the record of a frame"))
        except (UserError, ValidationError):
            return None
        place = (evaluation, file.parent.name, file.name.removesuffix(".json"), index, window)
        if (record.evaluation, record.clip, record.frame, record.index, record.window) != place:
            return None
        names = record.pictures.model_dump(exclude_none=True).values() if record.pictures else ()
        if (pictures and not names) or not all(self._is_picture_of(file, name) for name in names):
            return None
        return FrameResult(**{name: getattr(record, name) for name in FrameResult.model_fields})

    def _adopt_frames(self, before: str, now: str) -> None:
        """Let the finished frames of an evaluation that an earlier version began belong to the one that resumes it."""
        for file in (self.path / "frames").rglob("*.json"):
            try:
                record = _FrameRecord.model_validate_json(read_regular(file, _RECORD_BYTES, "the record of a frame"))
            except (UserError, ValidationError):
                continue  # of another kind, or damaged
            if record.evaluation in (before, None):
                write_record(file, record.model_copy(update={"evaluation": now}))

    def _is_picture_of(self, file: Path, name: str) -> bool:
        """Whether a name in a record is that of an existing file beside it."""
        path = self.path / name
        return path.parent == file.parent and path.is_file()

    def write_results(self, results: Results) -> None:
        """Write the options, the table of frames, the curves and, last, results.json."""
        self._write_text("options.yml", dump_yaml(results.options))
        self._write_text("results.csv", frames_csv(results))
        self._write_curves(results)
        write_record(self.path / RESULTS, results)

    def _write_text(self, name: str, text: str) -> None:
        write_atomically(self.path / name, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def _write_curves(self, results: Results) -> None:
        folder = self.path / "tb"
        _remove(folder)
        for run in results.runs:
            with SummaryWriter(folder / run.checkpoint / run.noise) as writer:
                for frame in run.frames:
                    for metric in metrics_of([frame]):
                        writer.add_scalar(f"{metric}/{frame.clip}", frame.value(metric), frame.index)


def _remove(path: Path) -> None:
    """Remove a folder, or whatever else has its name; UserError if that cannot be done."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be removed ({error.strerror})") from error
