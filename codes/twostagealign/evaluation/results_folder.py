"""The folder of an evaluation: what is finished is on disk, and what is on disk is finished.

results/NAME/identity.json                                what was evaluated and how
results/NAME/frames/CHECKPOINT/NOISE/CLIP/FRAME.json      a finished frame, and beside it its pictures if asked for
results/NAME/results.json                                 everything, written last; results.csv, tb/, options.yml
results/NAME/report.html                                  if asked for
"""

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch.utils.tensorboard import SummaryWriter

from twostagealign.evaluation.results import METRICS, FrameResult, Results, write_record
from twostagealign.evaluation.summary import frames_csv
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically
from twostagealign.runtime.yaml_file import dump_yaml

IDENTITY = "identity.json"
RESULTS = "results.json"
REPORT = "report.html"


class ResultsFolder:
    """results/NAME.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self, identity: Mapping[str, Any], resume: bool) -> None:
        """Make the folder ready to be written to.

        Args:
            identity: JSON values that say what is evaluated and how; frames of another identity are not mixed in.
            resume: keep the frames that are finished. Otherwise a folder that exists is renamed to
                NAME_archived_TIME, so that nothing is overwritten.

        Raises:
            UserError: the folder cannot be written, or to resume in a folder of another identity.
        """
        if resume and (self.path / IDENTITY).exists():
            self._check_identity(identity)
        elif self.path.exists():
            archive = self.path.with_name(f"{self.path.name}_archived_{time.strftime('%Y%m%d_%H%M%S')}")
            try:
                self.path.rename(archive)
            except OSError as error:
                raise UserError(f"{self.path}: cannot be renamed to {archive.name} ({error.strerror})") from error
        output_folder(self.path)
        for name in (RESULTS, REPORT):  # these say that all is finished
            (self.path / name).unlink(missing_ok=True)
        text = json.dumps(identity, indent=2) + "\n"
        write_atomically(self.path / IDENTITY, lambda temporary: temporary.write_text(text, encoding="utf-8"))

    def _check_identity(self, identity: Mapping[str, Any]) -> None:
        path = self.path / IDENTITY
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: cannot be read ({error}), expected what the evaluation was started with"
            ) from error
        for key, value in json.loads(json.dumps(identity)).items():
            if before.get(key) != value:
                raise UserError(
                    f"--resume: {self.path} was made with {key} {json.dumps(before.get(key))}, found "
                    f"{json.dumps(value)}; expected the same, or another --name"
                )

    def frame_file(self, checkpoint: str, noise: str, clip: str, frame: str) -> Path:
        """Where a finished frame is recorded; its pictures have names that begin with the frame's, too."""
        return self.path / "frames" / checkpoint / noise / clip / f"{frame}.json"

    def finished(self, file: Path, index: int, window: list[str], pictures: bool) -> FrameResult | None:
        """The record of a frame, if it is finished.

        Args:
            file: from `frame_file`.
            index: of the frame in its clip, which must be the same as then: the noise of the test protocol goes by it.
            window: names of the frames of the burst, likewise.
            pictures: whether the frame's pictures must be there too.
        """
        try:
            record = FrameResult.model_validate_json(file.read_bytes())
        except (OSError, ValidationError):
            return None
        same = (record.index, record.window) == (index, window)
        return record if same and not (pictures and record.pictures is None) else None

    def write_results(self, results: Results) -> None:
        """Write the option file, the table of frames, the curves and, last of all, results.json."""
        texts = {"options.yml": dump_yaml(results.options), "results.csv": frames_csv(results)}
        for name, text in texts.items():
            write_atomically(
                self.path / name, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8")
            )
        self._write_curves(results)
        write_record(self.path / RESULTS, results)

    def _write_curves(self, results: Results) -> None:
        folder = self.path / "tb"
        shutil.rmtree(folder, ignore_errors=True)
        for run in results.runs:
            with SummaryWriter(folder / run.checkpoint / run.noise) as writer:
                for frame in run.frames:
                    for metric in METRICS:
                        if getattr(frame, metric) is not None:
                            writer.add_scalar(f"{metric}/{frame.clip}", getattr(frame, metric), frame.index)
