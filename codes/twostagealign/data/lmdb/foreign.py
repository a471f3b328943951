"""LMDBs of other programs: EDVR (BGR bytes, meta_info.pkl) and BasicSR (PNG, meta_info.txt)."""

import io
import pickle
import pickletools
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal, NoReturn

from twostagealign.data.lmdb.lmdb_clips import Layout, LmdbClips
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular

EDVR_META_FILE = "meta_info.pkl"
BASICSR_META_FILE = "meta_info.txt"

_META_BYTES = 2**26
"""Largest size of a file of meta_info; each frame takes about 30 bytes."""
_KEY_CHARACTERS = 511
"""LMDB's limit."""
_BASICSR_LINE = re.compile(r"(?P<key>.+)\.png \((?P<height>\d{1,5}),(?P<width>\d{1,5}),(?P<channels>\d{1,5})\) \d+")
_PLAIN_OPCODES = re.compile(
    "PROTO|FRAME|STOP|MARK|POP|POP_MARK|(BIN|LONG_BIN)?(PUT|GET)|MEMOIZE"
    "|NONE|NEWTRUE|NEWFALSE|INT|BININT[12]?|LONG1?|(BIN)?FLOAT|(SHORT_)?(BIN)?(STRING|UNICODE)"
    "|(EMPTY_)?(LIST|DICT|TUPLE)|TUPLE[123]|APPENDS?|SETITEMS?"
)
"""Instructions of pickles that make lists, dictionaries, tuples, strings and numbers."""
_MAX_TUPLES = 1000
"""Tuples are hashed recursively, without a check of the stack."""


def open_edvr(path: str | Path) -> LmdbClips:
    """Open an LMDB in EDVR's layout: keys CCC_FFFFFFFF, values height x width x BGR bytes.

    Args:
        path: the folder with data.mdb and meta_info.pkl, a dictionary with `keys` and `resolution` ("3_720_1280").
            The pickle is loaded without executing anything.

    Raises:
        UserError: meta_info.pkl cannot be read, contains anything but plain containers, strings and numbers, or is not
            such a dictionary; or the LMDB disagrees with it.
    """
    file = Path(path) / EDVR_META_FILE
    content = _read_plain_pickle(file)
    meta = content if isinstance(content, dict) else {}
    keys = _strings(meta.get("keys"))
    if not keys:
        raise UserError(f"{file}: found no list of strings under 'keys', expected the keys of the frames")
    stated = meta.get("resolution")
    sizes = sorted(set([stated] if isinstance(stated, str) else _strings(stated)))
    size = re.fullmatch(r"(\d{1,5})_(\d{1,5})_(\d{1,5})", sizes[0]) if len(sizes) == 1 else None
    if size is None:
        found = ", ".join(sizes)[:60] or "no string"
        raise UserError(f"{file}: resolution: found {found}, expected one for all, such as 3_720_1280")
    clips = _group(file, keys, r"(.+)_(\d+)", "000_00000000")
    return LmdbClips(path, _layout(file, size.groups(), clips, coding="bgr"))


def open_basicsr(path: str | Path) -> LmdbClips:
    """Open an LMDB in BasicSR's layout: keys CCC/FFFFFFFF, or 00001/0001/im1 as of Vimeo90K, values PNG files.

    Args:
        path: the folder with data.mdb and meta_info.txt, a line "000/00000000.png (720,1280,3) 1" for each frame.

    Raises:
        UserError: meta_info.txt cannot be read or is not as described, or the LMDB disagrees with it.
    """
    file = Path(path) / BASICSR_META_FILE
    try:
        lines = read_regular(file, _META_BYTES, "the list of the frames").decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
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
    clips = _group(file, [entry["key"] for entry in entries], r"(.+)/\D*(\d+)", "000/00000000")
    return LmdbClips(path, _layout(file, sizes.pop(), clips, coding="picture"))


def _strings(value: object) -> list[str]:
    """The value itself if it is a list of strings, else an empty list."""
    return value if isinstance(value, list) and all(isinstance(entry, str) for entry in value) else []


def _layout(file: Path, size: Iterable[str], clips: dict[str, list[str]], coding: Literal["bgr", "picture"]) -> Layout:
    channels, height, width = map(int, size)
    if channels != 3 or min(height, width) < 1:
        raise UserError(f"{file}: found {width}x{height} pixels of {channels} channels, expected RGB frames")
    counts = {clip: len(keys) for clip, keys in clips.items()}
    return Layout(file.name, height, width, counts, partial(_key, clips), coding)


def _key(clips: dict[str, list[str]], clip: str, frame: int) -> str:
    return clips[clip][frame]


def _group(file: Path, keys: Iterable[str], pattern: str, example: str) -> dict[str, list[str]]:
    """Keys of every clip, ordered by frame number."""
    clips: dict[str, dict[int, str]] = {}
    for key in keys:
        parts = re.fullmatch(pattern, key) if len(key) <= _KEY_CHARACTERS and key.isprintable() else None
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
    """Refuses every class and function: whatever a pickle executes, it first looks up by name, here."""

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _read_plain_pickle(file: Path) -> object:
    content = read_regular(file, _META_BYTES, "the keys of the frames")
    try:
        _check_instructions(content)
        return _PlainUnpickler(io.BytesIO(content)).load()
    except Exception as error:  # the unpickler raises nearly any exception on bytes that are no pickle
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{file}: refused ({reason}), expected plain containers, strings and numbers") from error


def _check_instructions(content: bytes) -> None:
    """Refuse a pickle whose instructions make more than plain values, or whose memory would not fit its size."""
    tuples = 0
    for opcode, argument, _ in pickletools.genops(content):
        if not _PLAIN_OPCODES.fullmatch(opcode.name):
            raise pickle.UnpicklingError(f"it asks for {opcode.name} {argument or ''}".rstrip())
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > len(content):
            raise pickle.UnpicklingError(f"it asks for {argument} places in memory")
        tuples += opcode.name.startswith("TUPLE")
        if tuples > _MAX_TUPLES:
            raise pickle.UnpicklingError(f"more than {_MAX_TUPLES} tuples")
