"""Index page and table of many restored bursts."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined

from twostagealign.restoration.burst_record import THUMBNAIL, BurstRecord
from twostagealign.runtime.csv_table import csv_table
from twostagealign.runtime.files import write_atomically

PAGE, TABLE = "index.html", "bursts.csv"

_COLUMNS = (
    "burst",
    "frames",
    "reference",
    "captured",
    "exposure_seconds",
    "iso",
    "shot",
    "read",
    "seconds",
    "pictures",
    "warnings",
    "error",
)


def write_index(folder: Path, records: Sequence[tuple[str, BurstRecord]]) -> None:
    """Write index.html and bursts.csv.

    Args:
        folder: folder of the results of all bursts.
        records: name and record of each burst.

    Raises:
        UserError: a file cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("twostagealign.restoration", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["url"] = lambda path: quote(path, safe="/")
    failed = sum(record.error is not None for _, record in records)
    page = environment.get_template("index.html").render(records=records, failed=failed, thumbnail=THUMBNAIL)
    write_atomically(folder / PAGE, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    table = csv_table(_COLUMNS, [_row(name, record) for name, record in records])
    write_atomically(folder / TABLE, lambda temporary: temporary.write_text(table, encoding="utf-8"))


def _row(name: str, record: BurstRecord) -> list[str | float | None]:
    return [
        name,
        record.frames,
        " ".join(record.reference),
        record.captured.isoformat() if record.captured else None,
        record.exposure,
        record.iso,
        record.shot,
        record.read,
        record.seconds,
        " ".join(record.pictures),
        " | ".join(record.warnings),
        record.error,
    ]
