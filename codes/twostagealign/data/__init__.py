"""Where bursts come from, and the degradation that makes them."""

from .burst import Burst
from .clips import PADDINGS, Clip, frame_window
from .degradation import degrade, degrade_by_protocol
from .motion import burst_from_picture
from .pictures import BUNDLED, bundled_picture, list_pictures, read_picture, write_picture
from .raw_folder import RawFolder, read_raw_folder, write_raw_folder
from .stills import StillsInMotion

__all__ = [
    "BUNDLED",
    "PADDINGS",
    "Burst",
    "Clip",
    "RawFolder",
    "StillsInMotion",
    "bundled_picture",
    "burst_from_picture",
    "degrade",
    "degrade_by_protocol",
    "frame_window",
    "list_pictures",
    "read_picture",
    "read_raw_folder",
    "write_picture",
    "write_raw_folder",
]
