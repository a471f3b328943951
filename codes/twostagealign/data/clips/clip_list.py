"""Text files that name clips, such as sep_trainlist.txt of Vimeo90K."""

from pathlib import Path, PurePosixPath

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular

_BYTES = 2**26
"""Largest size of a list; each clip takes about 11 bytes."""


def read_clip_list(file: Path) -> list[str]:
    """Read the names of clips, one a line, such as 00001/0001. Empty lines are skipped.

    Args:
        file: the list.

    Returns:
        The names, each once, in the order of the file.

    Raises:
        UserError: it cannot be read, is empty, or a line is not a relative path.
    """
    expected = "a text file with the name of a clip in each line"
    try:
        text = read_regular(file, _BYTES, expected).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: not UTF-8, expected {expected}") from error
    names: dict[str, None] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.strip().rstrip("/")
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not name.isprintable():
            raise UserError(f"{file}: line {number}: found {name[:60]!r}, expected a clip's name, such as 00001/0001")
        if name:
            names[str(path)] = None
    if not names:
        raise UserError(f"{file}: empty, expected {expected}")
    return list(names)
