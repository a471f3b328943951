"""camera.yml: the camera of a folder of raw frames, as far as the frames do not describe it themselves.

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

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from twostagealign.isp import Camera, CfaOrder, rgb2cam_from_xyz2cam
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.validation import first_error, quote, schema_error
from twostagealign.runtime.yaml_file import read_yaml

# The bounds are far beyond any camera; within them, what is computed from the values is finite.
_Entry = Annotated[float, Field(ge=-1000, le=1000)]
_Row = tuple[_Entry, _Entry, _Entry]
_Matrix = tuple[_Row, _Row, _Row]
_Level = Annotated[float, Field(ge=0, le=2**24)]
_Gain = Annotated[float, Field(ge=1e-3, le=1e3)]
_NoiseLevel = Annotated[float, Field(ge=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _WhiteBalance(_Section):
    red: _Gain
    blue: _Gain


class _Noise(_Section):
    shot: _NoiseLevel
    read: _NoiseLevel


class CameraFile(_Section):
    """Content of a camera.yml; the keys are described above."""

    cfa: CfaOrder
    black_level: Annotated[
        tuple[_Level, _Level, _Level, _Level],
        BeforeValidator(lambda level: tuple(level) if isinstance(level, list) else (level,) * 4),
    ]
    white_level: _Level
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
            if self.rgb2cam:
                raise ValueError("rgb2cam, xyz2cam: both are given; remove one")
            raise ValueError("neither rgb2cam nor xyz2cam is given")
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


def load_camera_file(path: Path) -> dict[str, object]:
    """Read a camera.yml without checking its values; UserError if it is missing or not a mapping."""
    content = read_yaml(path, "the description of the camera")
    if not isinstance(content, dict):
        raise UserError(f"{path}: found {quote(content)}, expected the keys {', '.join(CameraFile.model_fields)}")
    return content


def check_camera(
    path: Path, content: Mapping[str, object], known: Mapping[str, object] | None = None, raw_file: Path | None = None
) -> CameraFile:
    """Check the content of a camera.yml, together with what a raw file says.

    Args:
        path: the camera.yml, for errors.
        content: its content, empty if there is no such file.
        known: what a raw file says itself, by the same keys. Keys of `content` replace them.
        raw_file: the raw file that `known` comes from, for errors.

    Raises:
        UserError: a value of `content` or of `known` does not fit, or is missing from both.
    """
    known = dict(known) if known else {}
    if "xyz2cam" in content:
        known.pop("rgb2cam", None)
    try:
        # As JSON, since JSON's strict rules fit YAML: "3" and true are no numbers, but a list may be a tuple.
        return CameraFile.model_validate_json(json.dumps(known | dict(content)))
    except ValidationError as error:
        if raw_file is None:
            raise schema_error(str(path), error, CameraFile) from None
        first = first_error(error)
        key = str(first["loc"][0]) if first["loc"] else ""
        if first["type"] == "missing" and key not in content:
            raise UserError(f"{raw_file}: holds no {key}; give it in {path}") from None
        if key in content or (not key and content):
            raise schema_error(str(path), error, CameraFile) from None
        raise UserError(f"{schema_error(str(raw_file), error, CameraFile)}; give it in {path}") from None
