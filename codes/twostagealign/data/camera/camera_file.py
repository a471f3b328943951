"""camera.yml: what the camera was that took a folder of raw frames, as far as the frames do not say it themselves.

The keys of the file:

    cfa: RGGB                               # colours of the upper left 2 x 2 cell: RGGB, BGGR, GRBG or GBRG
    black_level: 64                         # or four: of R, of G in red rows, of G in blue rows, of B
    white_level: 1023
    white_balance: {red: 2.0, blue: 1.7}    # gains over green
    xyz2cam: [[...], [...], [...]]          # XYZ -> camera RGB (the ColorMatrix of a DNG); or instead
    rgb2cam: [[...], [...], [...]]          # linear sRGB -> camera RGB, every row sums to 1
    noise: {shot: 2.5e-3, read: 1.0e-2}     # on the [0, 1] scale: variance = shot * signal + read ** 2
    rgb_gain: 1.0                           # brightness gain

The last two may be left out.
"""

import difflib
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import torch
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from twostagealign.isp import CFA_ORDERS, Camera, rgb2cam_from_xyz2cam
from twostagealign.runtime.errors import UserError

_Row = tuple[float, float, float]
_Matrix = tuple[_Row, _Row, _Row]
_Level = Annotated[float, Field(ge=0)]
_Gain = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _WhiteBalance(_Section):
    red: _Gain
    blue: _Gain


class _Noise(_Section):
    shot: _Level
    read: _Level


class CameraFile(_Section):
    """Content of a camera.yml; the keys are described above."""

    cfa: Literal[CFA_ORDERS]
    black_level: Annotated[
        tuple[_Level, _Level, _Level, _Level],
        BeforeValidator(lambda level: level if isinstance(level, list) else [level] * 4),
    ]
    white_level: _Gain
    white_balance: _WhiteBalance
    rgb2cam: _Matrix | None = None
    xyz2cam: _Matrix | None = None
    noise: _Noise | None = None
    rgb_gain: _Gain = 1.0

    @model_validator(mode="after")
    def _check_together(self) -> "CameraFile":
        black = max(self.black_level)
        if self.white_level <= black:
            raise ValueError(f"white_level: found {self.white_level:g}, expected more than the black level {black:g}")
        if (self.rgb2cam is None) == (self.xyz2cam is None):
            raise ValueError(
                f"rgb2cam, xyz2cam: found {'neither' if self.rgb2cam is None else 'both'}, expected one of the two"
            )
        sums = [sum(row) for row in self.rgb2cam or ()]
        if any(abs(total - 1) > 1e-3 for total in sums):
            raise ValueError(f"rgb2cam: found rows that sum to {', '.join(f'{s:.4g}' for s in sums)}, expected 1 each")
        if not abs(torch.linalg.det(self.camera.rgb2cam)) > 1e-6:
            raise ValueError(f"{'rgb2cam' if sums else 'xyz2cam'}: found a singular matrix, expected an invertible one")
        return self

    @property
    def camera(self) -> Camera:
        """Colour metadata, a batch of one."""
        rgb2cam = torch.tensor([self.rgb2cam]) if self.rgb2cam else rgb2cam_from_xyz2cam(torch.tensor([self.xyz2cam]))
        gains = (self.white_balance.red, self.white_balance.blue, self.rgb_gain)
        return Camera(rgb2cam, *(torch.tensor([gain]) for gain in gains))


def read_camera_file(path: Path, known: Mapping[str, object] | None = None) -> CameraFile:
    """Read and check a camera.yml.

    Args:
        path: the file.
        known: what raw files say themselves, by the same keys. There need be no file then; what it says comes first.

    Returns:
        Its content.

    Raises:
        UserError: if there is no such file, or something in it is not as described.
    """
    known = dict(known) if known else {}
    content = {} if known and not path.exists() else _load(path)
    if "xyz2cam" in content:
        known.pop("rgb2cam", None)
    try:
        return CameraFile.model_validate(known | content)
    except ValidationError as error:
        # A misspelt key is also a missing one: name the misspelt one first.
        first = min(error.errors(), key=lambda entry: entry["type"] != "extra_forbidden")
        elsewhere = ", and the raw files do not say it" if known and first["type"] == "missing" else ""
        raise UserError(f"{path}: {_describe(first)}{elsewhere}") from error


def _load(path: Path) -> dict[str, object]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), expected the description of the camera") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {reprlib.repr(content)}, expected keys {', '.join(CameraFile.model_fields)}")
    return content


def _describe(error: ErrorDetails) -> str:
    key = ".".join(str(step) for step in error["loc"])
    if error["type"] == "value_error":  # worded by CameraFile
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"] == "extra_forbidden":
        section = {"white_balance": _WhiteBalance, "noise": _Noise}.get(str(error["loc"][0]), CameraFile)
        known = list(section.model_fields)
        close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
        hint = "".join(f"; did you mean {name}?" for name in close)
        return f"{key}: unknown key, expected one of {', '.join(known)}{hint}"
    return f"{key}: found {reprlib.repr(error['input'])}, {error['msg'].replace('Input should', 'expected to')}"
