"""The colours of a camera, in plain numbers."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import ValidationError

from twostagealign.data.camera.camera_file import CameraFile
from twostagealign.isp import Camera, protocol_camera
from twostagealign.runtime.validation import schema_error


@dataclass(frozen=True)
class CameraProfile:
    """The colours of a camera. Exactly one of the two matrices is given.

    Attributes:
        red_gain: white-balance gain of red over green.
        blue_gain: white-balance gain of blue over green.
        xyz2cam: XYZ -> camera RGB, 3 rows of 3 numbers, the ColorMatrix of a DNG.
        rgb2cam: linear sRGB -> white-balanced camera RGB, 3 rows of 3 numbers; every row sums to 1.
        rgb_gain: brightness gain of the picture.

    Raises:
        ValueError: an argument is not a number, out of range or missing.

    Example:
        >>> CameraProfile(2.0, 1.7, rgb2cam=[[1, 0, 0], [0, 1, 0], [0, 0, 1]]).camera().red_gain
        tensor([2.])
    """

    red_gain: float
    blue_gain: float
    xyz2cam: Sequence[Sequence[float]] | np.ndarray | None = None
    rgb2cam: Sequence[Sequence[float]] | np.ndarray | None = None
    rgb_gain: float = 1.0

    def __post_init__(self) -> None:
        self.camera()

    @classmethod
    def of_protocol(cls) -> "CameraProfile":
        """Return the camera of the paper's test protocol, for raw data that was made from ordinary pictures."""
        camera = protocol_camera()
        gains = (camera.red_gain.item(), camera.blue_gain.item())
        return cls(*gains, rgb2cam=camera.rgb2cam[0].tolist(), rgb_gain=camera.rgb_gain.item())

    def camera(self) -> Camera:
        """Return the colour metadata that the rest of the package works with, a batch of one."""
        given = {
            "cfa": "RGGB",
            "black_level": 0,
            "white_level": 1,
            "white_balance": {"red": self.red_gain, "blue": self.blue_gain},
            "xyz2cam": self.xyz2cam,
            "rgb2cam": self.rgb2cam,
            "rgb_gain": self.rgb_gain,
        }
        try:
            text = json.dumps(given, default=lambda value: np.asarray(value, dtype=float).tolist())
            return CameraFile.model_validate_json(text).camera  # the rules of camera.yml
        except ValidationError as error:
            problem = str(schema_error("camera", error, CameraFile))
            for key, name in (("white_balance.red", "red_gain"), ("white_balance.blue", "blue_gain")):
                problem = problem.replace(key, name)
            raise ValueError(problem) from None
        except TypeError as error:
            raise ValueError(f"camera: {error}; give numbers") from None
