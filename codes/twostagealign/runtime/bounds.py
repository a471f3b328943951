"""Types of values that users give, with their bounds: for options, constructors, files and command lines.

The upper bounds are far above any sensible value. They keep a slip of the keyboard, or a hostile file, from asking for
more memory or time than there is.
"""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, Strict

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import checked_path

Count = Annotated[int, Field(ge=1, le=10**9)]
CountOrZero = Annotated[int, Field(ge=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Frames = Annotated[int, Field(ge=1, le=1000)]
"""Frames of a burst."""
Batch = Annotated[int, Field(ge=1, le=4096)]
Workers = Annotated[int, Field(ge=0, le=256)]
Side = Annotated[int, Field(ge=1, le=65_536)]
"""Height or width of a picture."""
Channels = Annotated[int, Field(ge=1, le=512)]
"""Feature channels of a network."""
Blocks = Annotated[int, Field(ge=1, le=256)]
"""Blocks of a network that follow each other."""
NoiseLevel = Annotated[float, Field(gt=0, le=1)]
Megabytes = Annotated[int, Field(ge=0, le=2**20)]
Port = Annotated[int, Field(ge=0, le=65535)]
"""TCP port; 0: any free one."""
SearchWindow = Annotated[int, Field(ge=16, le=1024, multiple_of=16)]
"""Half the window must be an even number of pixels of the features, which have a quarter of the raw size: candidates
are two apart, and offset 0 must be one of them."""
PatchSize = Annotated[int, Field(ge=4, le=4096, multiple_of=4)]

Positive = Annotated[float, Field(gt=0, le=1e12)]
PositiveOrZero = Annotated[float, Field(ge=0, le=1e12)]
Probability = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
"""Weight of the past in a running average."""
Scale = Annotated[float, Field(ge=0.01, le=1)]
"""Factor by which a picture is made smaller."""
Stops = Annotated[float, Field(ge=-10, le=10)]
"""Exposure correction, EV."""
Shift = Annotated[float, Field(ge=0, le=4096)]
"""Length in pixels."""

_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,149}")


def is_folder_name(text: str) -> bool:
    """Whether a string is a folder's name on every file system: short, and not a path."""
    return _FOLDER_NAME.fullmatch(text) is not None


def _folder_name(text: str) -> str:
    if not is_folder_name(text):
        raise ValueError(
            f"found {text[:60]!r}, expected letters, digits, '.', '_', '-', a letter or digit first, at most 150 in all"
        )
    return text


def _path_text(path: str | Path) -> str | Path:
    try:
        checked_path(str(path))
    except UserError as error:
        raise ValueError(str(error)) from None
    return path


def _in_order(ends: tuple[float, float]) -> tuple[float, float]:
    if ends[0] > ends[1]:
        raise ValueError(f"found {list(ends)}, expected the smaller number first")
    return ends


FolderName = Annotated[str, AfterValidator(_folder_name)]
PathText = Annotated[str, AfterValidator(_path_text)]
PathOrText = Annotated[str | Path, AfterValidator(_path_text)]
FrameRange = Annotated[tuple[Frames, Frames], Strict(False), AfterValidator(_in_order)]
"""Fewest and most frames of a burst."""
NoiseLevels = Annotated[tuple[NoiseLevel, NoiseLevel], Strict(False), AfterValidator(_in_order)]
"""Least and largest noise level."""
