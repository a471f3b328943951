"""Frame files of a folder, in natural order. Nothing in the folder is left out silently."""

import logging
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median_low

from natsort import natsorted

from twostagealign.data.camera.libraw import RAW_SUFFIXES
from twostagealign.data.pictures import PICTURE_SUFFIXES
from twostagealign.runtime.errors import UserError

CAMERA_FILE = "camera.yml"
"""Name of the file beside the frames that describes their camera; see `data.camera.camera_file`."""

_NAMED = 5  # names in a message; of more, the rest is counted

_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode

logger = logging.getLogger(__name__)


def natural_order(paths: Iterable[Path]) -> list[Path]:
    """Sort files of one folder by their names, numbers in them by value: 2 comes before 10."""
    return natsorted(sorted(paths), key=lambda path: path.name)


def list_files(folder: Path, suffixes: Sequence[str], kind: str) -> list[Path]:
    """List the files of one kind in a folder, in natural order.

    What else the folder contains is named in a warning, except hidden files and camera.yml.

    Args:
        folder: the folder; its subfolders are not entered.
        suffixes: suffixes of the files, lower case; names may have them in upper case.
        kind: name of such a file in messages.

    Raises:
        UserError: there is no such folder, no such file in it, or a link that leads nowhere, a folder, a pipe or a
            device has the name of such a file.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {_no_folder(folder)}, expected a folder of {kind}s")
    try:
        entries = natural_order(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}), expected a folder of {kind}s") from error
    found = [path for path in entries if path.suffix.lower() in suffixes]
    for path in found:
        _check_name(path)
        if not path.is_file():
            what = "a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "a link to no file"
            raise UserError(f"{path}: {what} in place of a {kind}; replace or remove it")
    rest = [path for path in entries if path.suffix.lower() not in suffixes and path.name != CAMERA_FILE]
    folders = [path.name for path in rest if path.is_dir()]
    if not found:
        hint = f"; it contains folders ({_some(folders)}): give one of them" if folders else ""
        raise UserError(f"{folder}: no {kind} in this folder, expected files *{', *'.join(suffixes)}{hint}")
    if others := [path.name for path in rest if not path.is_dir()]:
        logger.warning("%s: not used, not %ss: %s", folder, kind, _some(others))
    if folders:
        logger.warning("%s: not used, folders: %s", folder, _some(folders))
    return found


def list_frames(folder: Path) -> list[Path]:
    """List the frames in a folder, as `list_files` does: all raw files, or all pictures; UserError if mixed."""
    paths = list_files(folder, (*PICTURE_SUFFIXES, *RAW_SUFFIXES), "picture")
    if len(set(map(is_raw, paths))) > 1:
        kinds = Counter(path.suffix[1:].upper() for path in sorted(paths, key=is_raw, reverse=True))
        found = " and ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise UserError(f"{folder}: {found} files, raw files mixed with pictures; remove one kind")
    return paths


def list_pictures(folder: str | Path) -> list[Path]:
    """List the picture files in a folder, as `list_files` does; UserError if there are raw files."""
    paths = list_frames(Path(folder))
    if os.path.lexists(Path(folder) / CAMERA_FILE):
        logger.warning("%s: not used: %s, which describes raw frames", folder, CAMERA_FILE)
    if is_raw(paths[0]):
        raise UserError(f"{folder}: raw files ({_some([path.name for path in paths])}), expected a folder of pictures")
    return paths


def list_folders(folder: Path, content: str) -> list[str]:
    """Names of the folders in a folder, in natural order, without hidden ones; UserError if there are none.

    Files beside them are named in a warning, except hidden ones.

    Args:
        folder: the folder.
        content: what it should contain, for errors.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: {_no_folder(folder)}, expected one with {content}")
    entries = natural_order(path for path in folder.iterdir() if not path.name.startswith("."))
    folders = [path.name for path in entries if path.is_dir()]
    for name in folders:
        _check_name(folder / name)
    if not folders:
        raise UserError(f"{folder}: found no folder in it, expected {content}")
    if others := [path.name for path in entries if not path.is_dir()]:
        logger.warning("%s: not used, not folders: %s", folder, _some(others))
    return folders


def unique_names(paths: Sequence[Path]) -> list[str]:
    """Names of frames without suffixes, which results are written under; UserError if two are equal."""
    named: dict[str, Path] = {}
    for path in paths:
        if path.stem in named:
            raise UserError(f"{path}: found {named[path.stem].name} beside it, expected one frame of each name")
        named[path.stem] = path
    return list(named)


def is_raw(path: Path) -> bool:
    """Whether a file is a camera's raw file, by its suffix."""
    return path.suffix.lower() in RAW_SUFFIXES


def warn_about_numbering(paths: Sequence[Path]) -> None:
    """Warn about consecutive frames that may be missing or out of order: a gap in numbers, or several schemes of names.

    Numbers that do not mostly count in steps of one, such as times of day, have no gaps.
    """
    schemes = {_scheme(path.stem): path.name for path in reversed(paths)}
    if len(schemes) > 1:
        names = _some(natsorted(schemes.values()))
        logger.warning("%s: frame names of several schemes (%s), used in natural order", paths[0].parent, names)
        return
    columns = list(zip(*([int(number) for number in re.findall("[0-9]+", path.stem)] for path in paths), strict=True))
    changing = [column for column in columns if len(set(column)) > 1]
    if len(changing) != 1:
        return
    steps = [following - number for number, following in pairwise(changing[0])]
    if median_low(steps) != 1:
        return
    for (path, next_path), step in zip(pairwise(paths), steps, strict=True):
        if step != 1:
            problem = f"{step - 1} frame{'s' if step > 2 else ''} missing" if step > 1 else "a frame number twice"
            logger.warning("%s: %s, found %s after %s", path.parent, problem, next_path.name, path.name)


def _scheme(stem: str) -> str:
    """Name with its numbers left out; names without a number are of one scheme."""
    return re.sub("[0-9]+", "#", stem) if re.search("[0-9]", stem) else ""


def _no_folder(path: Path) -> str:
    if path.is_file():
        return "is a file"
    return "is not a folder" if path.exists() else "no such folder"


def _check_name(path: Path) -> None:
    """Refuse names, which results are written under, with line breaks, control characters or bytes of no character."""
    if any(unicodedata.category(character) in _UNPRINTABLE for character in path.name):
        raise UserError(f"{path}: a name that cannot be printed; rename it")


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
