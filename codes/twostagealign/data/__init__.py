"""Where bursts come from, and the degradation that makes them."""

from .burst import Burst
from .clip_source import ClipSource, open_clips
from .clips import PADDINGS, Clip, frame_window
from .degradation import degrade, degrade_by_protocol
from .lmdb_writer import verify_store, write_store
from .motion import burst_from_picture
from .pictures import BUNDLED, bundled_picture, list_pictures, read_picture, write_picture
from .raw_folder import RawFolder, read_raw_folder, write_raw_folder
from .reds import REDS, check_no_overlap
from .regroup import regroup
from .still_scenes import BurstPlan
from .stills import StillsInMotion
from .stills_on_device import StillsOnDevice

__all__ = [
    "BUNDLED",
    "PADDINGS",
    "REDS",
    "Burst",
    "BurstPlan",
    "Clip",
    "ClipSource",
    "RawFolder",
    "StillsInMotion",
    "StillsOnDevice",
    "bundled_picture",
    "burst_from_picture",
    "check_no_overlap",
    "degrade",
    "degrade_by_protocol",
    "frame_window",
    "list_pictures",
    "open_clips",
    "read_picture",
    "read_raw_folder",
    "regroup",
    "verify_store",
    "write_picture",
    "write_raw_folder",
    "write_store",
]
