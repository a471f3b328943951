"""The bursts that a restoration is given: a folder with a folder for each, several folders, or files split by time."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from twostagealign.data.camera.frame_order import capture_times, split_by_gaps
from twostagealign.data.frame_files import is_raw, list_folders, list_frames, natural_order
from twostagealign.data.pictures import PICTURE_SUFFIXES
from twostagealign.runtime.errors import UserError


@dataclass(frozen=True)
class BurstInput:
    """A burst of several.

    Attributes:
        name: name of the burst, and of the folder of its results.
        files: its folder, or its files.
    """

    name: str
    files: Path | Sequence[Path]

    def fingerprint(self) -> list[tuple[str, int, int]]:
        """Describe the files: name, size in bytes and time of the last change in nanoseconds of each.

        It is empty if they cannot be read.
        """
        try:
            paths = sorted(self.files.iterdir()) if isinstance(self.files, Path) else self.files
            states = [(path.name, path.stat()) for path in paths if path.is_file()]
        except OSError:
            return []
        return [(name, state.st_size, state.st_mtime_ns) for name, state in states]


def find_bursts(inputs: Sequence[Path], gap: float | None, output: Path) -> list[BurstInput] | None:
    """Find the bursts of a restoration of many.

    Args:
        inputs: a folder that contains folders and no frames, several folders, or, with `gap`, raw files or a folder of
            them.
        gap: longest time between two frames of a burst, seconds; None: each folder is a burst.
        output: folder for the results, which is no burst itself.

    Returns:
        The bursts; None if `inputs` are a single burst.

    Raises:
        UserError: a folder or a file cannot be used.
    """
    if gap is not None:
        return _split(inputs, gap)
    if len(inputs) > 1 and all(path.is_dir() for path in inputs):
        repeated = [name for name, count in Counter(path.resolve().name for path in inputs).items() if count > 1]
        if repeated:
            raise UserError(f"--input: two folders are called {repeated[0]}; rename one")
        return [BurstInput(path.resolve().name, path) for path in inputs]
    if len(inputs) > 1 or not _holds_folders_only(inputs[0]):
        return None
    folders = [inputs[0] / name for name in list_folders(inputs[0], "a folder for each burst")]
    return [BurstInput(path.name, path) for path in folders if not output.resolve().is_relative_to(path.resolve())]


def _split(inputs: Sequence[Path], gap: float) -> list[BurstInput]:
    paths = list_frames(inputs[0]) if len(inputs) == 1 and not inputs[0].is_file() else natural_order(inputs)
    others = [path for path in paths if not is_raw(path)]
    if others:
        raise UserError(f"{others[0]}: not a raw file; --split-bursts needs the capture times of raw files")
    bursts = split_by_gaps(paths, capture_times(paths), gap)
    names = Counter(path.stem for path in paths)
    repeated = [name for name, count in names.items() if count > 1]
    if repeated:
        raise UserError(f"--input: two files are called {repeated[0]}; rename one")
    return [BurstInput(paths[indices[0]].stem, [paths[index] for index in indices]) for indices in bursts]


def _holds_folders_only(folder: Path) -> bool:
    """Whether a folder contains folders, and no frame."""
    if not folder.is_dir():
        return False
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return False  # opening it as a burst explains why
    suffixes = (*PICTURE_SUFFIXES, ".mat")
    files = [path for path in entries if not path.is_dir()]
    if any(is_raw(path) or path.name.lower().endswith(suffixes) for path in files):
        return False
    return len(files) < len(entries)
