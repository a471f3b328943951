"""What was done with a burst of many: the file burst.json in the folder of its results."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular, write_atomically

RECORD = "burst.json"
THUMBNAIL = "thumbnail.jpg"
_MOST_BYTES = 2**24


class BurstRecord(BaseModel):
    """Content of burst.json.

    Attributes:
        job: `identity_digest` of the restoration of all bursts.
        files: name, size and time of change of each file of the burst.
        pictures: names of the rendered pictures, in the folder of the burst.
        frames: number of frames that a picture was restored from.
        reference: names of the frames that were restored.
        captured: time of capture of the first restored frame.
        exposure: its exposure time, seconds.
        iso: its ISO speed.
        shot: its shot noise, variance per unit of signal.
        read: its read noise, standard deviation.
        seconds: time that the burst took.
        warnings: what was warned about.
        error: why the burst was not restored.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    job: str
    files: list[tuple[str, int, int]]
    pictures: list[str] = []
    frames: int | None = None
    reference: list[str] = []
    captured: datetime | None = None
    exposure: float | None = None
    iso: float | None = None
    shot: float | None = None
    read: float | None = None
    seconds: float = 0.0
    warnings: list[str] = []
    error: str | None = None


def write_burst_record(folder: Path, record: BurstRecord) -> None:
    """Write burst.json, atomically; UserError if it cannot be written."""
    text = record.model_dump_json(indent=2) + "\n"
    write_atomically(folder / RECORD, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_burst_record(folder: Path) -> BurstRecord | None:
    """Read burst.json; None if there is none, or it is damaged."""
    try:
        return BurstRecord.model_validate_json(read_regular(folder / RECORD, _MOST_BYTES, "the record of a burst"))
    except (UserError, ValidationError):
        return None
