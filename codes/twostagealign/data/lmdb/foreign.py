"""LMDBs that others wrote: those of EDVR (raw BGR bytes, meta_info.pkl) and of BasicSR (PNG, meta_info.txt)."""

import pickle
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from twostagealign.data.lmdb.lmdb_clips import Layout, LmdbClips
from twostagealign.runtime.errors import UserError

EDVR_META_FILE = "meta_info.pkl"
BASICSR_META_FILE = "meta_info.txt"

_BASICSR_LINE = re.compile(r"(?P<key>.+)\.png \((?P<height>\d+),(?P<width>\d+),(?P<channels>\d+)\) \d+")


def open_edvr(path: str | Path) -> LmdbClips:
    """Open an LMDB in EDVR's layout: keys CCC_FFFFFFFF, values height x width x BGR bytes.

    Args:
        path: the folder with data.mdb and meta_info.pkl, a dictionary with `keys` and `resolution` ("3_720_1280").

    Returns:
        Its clips.

    Raises:
        UserError: if meta_info.pkl cannot be read, holds anything but plain containers, strings and numbers, or is not
            such a dictionary; or the LMDB disagrees with it.
    """
    file = Path(path) / EDVR_META_FILE
    meta = _read_plain_pickle(file)
    keys = meta.get("keys") if isinstance(meta, dict) else None
    if not isinstance(keys, list) or not keys or not all(isinstance(key, str) for key in keys):
        raise UserError(f"{file}: found no list of texts under 'keys', expected the keys of the frames")
    stated = meta.get("resolution")
    sizes = set(map(str, stated)) if isinstance(stated, list) else {str(stated)}
    size = re.fullmatch(r"(\d+)_(\d+)_(\d+)", min(sizes, default=""))
    if len(sizes) != 1 or size is None:
        raise UserError(f"{file}: resolution: found {stated!r:.60}, expected one for all, such as '3_720_1280'")
    clips = _group(file, keys, r"(.+)_(\d+)", "000_00000000")
    return LmdbClips(path, _layout(file, *map(int, size.groups()), clips, coding="bgr"))


def open_basicsr(path: str | Path) -> LmdbClips:
    """Open an LMDB in BasicSR's layout: keys CCC/FFFFFFFF, values PNG files.

    Args:
        path: the folder with data.mdb and meta_info.txt, a line "000/00000000.png (720,1280,3) 1" for each frame.

    Returns:
        Its clips.

    Raises:
        UserError: if meta_info.txt cannot be read or is not as described, or the LMDB disagrees with it.
    """
    file = Path(path) / BASICSR_META_FILE
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read ({error})") from error
    entries = []
    for number, line in enumerate(filter(None, map(str.strip, lines)), start=1):
        entry = _BASICSR_LINE.fullmatch(line)
        if entry is None:
            raise UserError(f"{file}: line {number}: found {line!r:.60}, expected '000/00000000.png (720,1280,3) 1'")
        entries.append(entry)
    sizes = {entry.group("channels", "height", "width") for entry in entries}
    if len(sizes) != 1:
        raise UserError(f"{file}: found {len(sizes)} sizes of frames, expected one for all")
    clips = _group(file, [entry["key"] for entry in entries], r"(.+)/(\d+)", "000/00000000")
    return LmdbClips(path, _layout(file, *map(int, sizes.pop()), clips, coding="picture"))


def _layout(file: Path, channels: int, height: int, width: int, clips: dict[str, list[str]], coding: Any) -> Layout:
    if channels != 3 or min(height, width) < 1:
        raise UserError(f"{file}: found {width}x{height} pixels of {channels} channels, expected RGB frames")
    return Layout(file.name, height, width, clips, coding)


def _group(file: Path, keys: Iterable[str], pattern: str, example: str) -> dict[str, list[str]]:
    """Keys of every clip in the order of the frame numbers."""
    clips: dict[str, dict[int, str]] = {}
    for key in keys:
        parts = re.fullmatch(pattern, key)
        if parts is None:
            raise UserError(f"{file}: found key {key!r:.60}, expected clip and frame number, such as {example}")
        clips.setdefault(parts[1], {})[int(parts[2])] = key
    for clip, frames in clips.items():
        if len(frames) != max(frames) - min(frames) + 1:
            raise UserError(
                f"{file}: clip {clip}: found {len(frames)} frames numbered {min(frames)} to {max(frames)}, "
                "expected consecutive numbers"
            )
    return {clip: [frames[number] for number in sorted(frames)] for clip, frames in sorted(clips.items())}


class _PlainUnpickler(pickle.Unpickler):
    """Makes plain containers, strings and numbers and nothing else.

    All that a pickle can run it must first look up by name, here. What is left needs no look-up.
    """

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read_plain_pickle(file: Path) -> object:
    try:
        with file.open("rb") as stream:
            return _PlainUnpickler(stream).load()
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from error
    except Exception as error:  # bytes that are no pickle make the unpickler raise nearly anything
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: refused ({reason}), expected plain containers, strings and numbers") from error
