"""Where bursts come from, and the degradation that makes them."""

from twostagealign.data.burst import Burst, BurstBatch, NoiseLevel, RawFrame
from twostagealign.data.camera.raw_folder import RawFolder, open_raw_files, open_raw_folder, write_raw_folder
from twostagealign.data.clips.clip import Clip, ClipInMemory, open_clip
from twostagealign.data.clips.clip_source import ClipSource, open_clips
from twostagealign.data.clips.reds import REDS
from twostagealign.data.clips.regroup import regroup
from twostagealign.data.clips.video_clips import VideoClips
from twostagealign.data.clips.vimeo90k import Vimeo90K
from twostagealign.data.degradation import PROTOCOL_NOISE, degrade, degrade_by_protocol
from twostagealign.data.frame_files import list_pictures
from twostagealign.data.lmdb.writer import verify_store, write_store
from twostagealign.data.pictures import BUNDLED, bundled_picture, read_picture, write_picture
from twostagealign.data.sequence import PADDINGS, FrameSequence, UniformSequence, frame_window, read_burst, read_bursts
from twostagealign.data.stills.motion import burst_from_picture
from twostagealign.data.stills.on_device import StillsOnDevice
from twostagealign.data.stills.scenes import BurstPlan
from twostagealign.data.stills.stills import StillsInMotion
from twostagealign.data.training_set import MadeOnDevice, TrainingSet, check_no_overlap

__all__ = [
    "BUNDLED",
    "PADDINGS",
    "PROTOCOL_NOISE",
    "REDS",
    "Burst",
    "BurstBatch",
    "BurstPlan",
    "Clip",
    "ClipInMemory",
    "ClipSource",
    "FrameSequence",
    "MadeOnDevice",
    "NoiseLevel",
    "RawFolder",
    "RawFrame",
    "StillsInMotion",
    "StillsOnDevice",
    "TrainingSet",
    "UniformSequence",
    "VideoClips",
    "Vimeo90K",
    "bundled_picture",
    "burst_from_picture",
    "check_no_overlap",
    "degrade",
    "degrade_by_protocol",
    "frame_window",
    "list_pictures",
    "open_clip",
    "open_clips",
    "open_raw_files",
    "open_raw_folder",
    "read_burst",
    "read_bursts",
    "read_picture",
    "regroup",
    "verify_store",
    "write_picture",
    "write_raw_folder",
    "write_store",
]
