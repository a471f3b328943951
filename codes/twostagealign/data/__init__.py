"""Where bursts come from, and the degradation that makes them."""

from twostagealign.data.burst import BurstBatch
from twostagealign.data.camera.raw_folder import RawFolder, read_raw_folder, write_raw_folder
from twostagealign.data.clips.clip import PADDINGS, Clip, frame_window
from twostagealign.data.clips.clip_source import ClipSource, open_clips
from twostagealign.data.clips.reds import REDS, check_no_overlap
from twostagealign.data.clips.regroup import regroup
from twostagealign.data.degradation import degrade, degrade_by_protocol
from twostagealign.data.frame_files import list_pictures
from twostagealign.data.lmdb.writer import verify_store, write_store
from twostagealign.data.pictures import BUNDLED, bundled_picture, read_picture, write_picture
from twostagealign.data.stills.motion import burst_from_picture
from twostagealign.data.stills.on_device import StillsOnDevice
from twostagealign.data.stills.scenes import BurstPlan
from twostagealign.data.stills.stills import StillsInMotion

__all__ = [
    "BUNDLED",
    "PADDINGS",
    "REDS",
    "BurstBatch",
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
