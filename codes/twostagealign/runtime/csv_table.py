"""Tables as comma-separated values that are safe to open in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterable, Sequence

_CELLS_THAT_CALCULATE = re.compile(r"""(^|;)(?=[\s"]*['=+@＝＋－＠-]|[\t\r\n])""")
"""Where a cell begins with a sign that spreadsheets calculate. Where the comma is the decimal mark, `;` ends a cell."""


def csv_table(header: Sequence[str], rows: Iterable[Sequence[str | float | None]]) -> str:
    """Write a table as comma-separated values, with a line for the header and one for each row.

    A spreadsheet calculates text that begins with a sign such as "=", and names of files may come from anybody. Such
    strings, and those that begin with an apostrophe, get an apostrophe in front, the usual mark of a text; also behind
    a semicolon, where some spreadsheets begin a new cell.

    Args:
        header: names of the columns.
        rows: cells of each row; None is an empty cell.

    Returns:
        The lines.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow([_CELLS_THAT_CALCULATE.sub(r"\1'", cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()
