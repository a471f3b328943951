"""Small sound inputs of every kind that the programs read. The fuzzer makes its inputs from these."""

import io
import pickle
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
import tifffile
import torch
import yaml

from twostagealign.archs import LowResolutionFeatures, SingleFrameNet, TwoStageNet
from twostagealign.data import bundled_picture, write_picture, write_store
from twostagealign.data.clips.sc_burst_writer import write_scene
from twostagealign.matching import Matcher
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import save_weights

FRAMES = 3
CODECS = ("png", "jpg", "tif", "bmp", "webp")

CAMERA: dict[str, Any] = {
    "cfa": "RGGB",
    "black_level": [60, 61, 62, 63],
    "white_level": 1023,
    "white_balance": {"red": 2.0, "blue": 1.7},
    "xyz2cam": [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
    "noise": {"shot": 2e-3, "read": 3e-3},
    "rgb_gain": 1.0,
}

NODES = {
    "network": {"type": "TwoStageNet", "nf": 8, "groups": 4},
    "features": {"type": "LowResolutionFeatures", "channels": 8},
}

SMALL = {"network": {"type": "SingleFrameNet", "nf": 4}, "features": {"type": "LowResolutionFeatures", "channels": 4}}
"""For inputs that no weights are damaged in: less than half the work."""

_STILLS = {"type": "StillsInMotion", "source": "stills", "frames": FRAMES, "size": 48, "max_shift": 4, "length": 4}
_CLIPS = {"type": "REDS", "source": "store", "frames": FRAMES, "size": 48, "border_mode": True}

TRAINING: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "device": "cpu",
    "path": {"experiments_root": "runs", "pretrained": None, "strict_load": True, "widen": False},
    **NODES,
    "matching": {"search_window": 16, "temperature": 1e-2, "final_temperature": 1e-3, "final_temperature_from": 4},
    "datasets": {"train": _STILLS | {"seed": 1}, "val": _STILLS | {"source": "other_stills", "seed": 2, "length": 1}},
    "train": {
        "total_iter": 1,
        "batch_size": 1,
        "patch_size": 8,
        "workers": 0,
        "optimizer": {"lr": 1e-3, "features_lr": 1e-3, "deform_lr": None, "betas": [0.9, 0.99]},
        "scheduler": {"periods": [4, 96], "restart_weights": [1, 0.5], "eta_min": 1e-7, "warmup": 0},
        "ema_decay": 0.9,
        "grad_clip": None,
        "losses": [
            {"type": "Charbonnier", "space": "srgb", "weight": 1, "gamma_offset": 0.01},
            {"type": "MatchSupervision", "weight": 1e3, "until": 4, "antialias": True},
            {"type": "OneHot", "weight": 5.6e4},
        ],
    },
    "val": {"every": 100, "noise": "high", "pictures": 0, "search_window": 16},
    "logger": {"print_every": 1, "checkpoint_every": 1, "keep_checkpoints": 2, "tensorboard": False},
}

TRAINING_ON_CLIPS: dict[str, Any] = TRAINING | {
    **SMALL,
    "datasets": {
        "train": _CLIPS | {"clips": ["000"], "seed": 1, "length": 4},
        "val": _CLIPS | {"clips": ["001"], "augment": False, "length": 1},
    },
}

EVALUATION: dict[str, Any] = {
    "name": "set",
    "dataset": {"type": "ClipSet"},
    "data": "clips",
    "clips": None,
    "frames": FRAMES,
    "noise": "high",
    "tiling": {"patch": 16, "halo": 4, "search_window": 16},
    "save_images": 0,
    "paper": {"psnr": {"high": 36.06}, "clips": ["x"], "frames": 3},
}


def write_yaml(path: Path, value: object) -> None:
    """Write a value as YAML."""
    path.write_text(yaml.safe_dump(value, sort_keys=False))


def picture(number: int = 0, height: int = 48, width: int = 56) -> np.ndarray:
    """Part of a photograph, RGB uint8; `number` moves it."""
    return bundled_picture("chelsea")[100 + number : 100 + number + height, 150 + number : 150 + number + width]


def encoded(rgb: np.ndarray, suffix: str) -> bytes:
    """A picture (RGB or grey, 8 or 16 bits) as a file of this suffix."""
    if suffix == "tif":
        stream = io.BytesIO()
        tifffile.imwrite(stream, rgb, photometric="rgb" if rgb.ndim == 3 else "minisblack")
        return stream.getvalue()
    return cv2.imencode(f".{suffix}", rgb[..., ::-1] if rgb.ndim == 3 else rgb)[1].tobytes()


def mosaics(height: int = 24, width: int = 32) -> np.ndarray:
    """Raw frames of 10 bits, (FRAMES, height, width) uint16."""
    grey = np.stack([picture(number, height, width)[..., 1] for number in range(FRAMES)]).astype(np.float64)
    noise = np.random.default_rng(0).normal(0, 4, grey.shape)
    return (62 + grey * 3.5 + noise).clip(0, 1023).astype(np.uint16)


def write_dng(path: Path, mosaic: np.ndarray) -> None:
    """Write an uncompressed DNG with all kinds of tags that are read."""

    def fractions(values: Sequence[float]) -> list[int]:
        return [part for value in values for part in (round(value * 10_000), 10_000)]

    height, width = mosaic.shape
    place = struct.pack(">10I4dI", 0, 0, height, width, 0, 1, 1, 1, 2, 2, 1, 1, 0, 0, 1)
    gain_map = place + struct.pack(">4f", 1, 1.1, 1.2, 1.3)
    shading = struct.pack(">5I", 1, 9, 0x01030000, 0, len(gain_map)) + gain_map
    tags = [
        (274, "H", 1, 1),  # Orientation
        (50706, "B", 4, bytes((1, 4, 0, 0))),  # DNGVersion
        (50708, "s", 0, "A camera"),  # UniqueCameraModel
        (50721, "2i", 9, fractions(np.ravel(CAMERA["xyz2cam"]).tolist())),  # ColorMatrix1
        (50728, "2I", 3, fractions((0.5, 1, 0.6))),  # AsShotNeutral
        (50778, "H", 1, 21),  # CalibrationIlluminant1: D65
        (33421, "H", 2, (2, 2)),  # CFARepeatPatternDim
        (33422, "B", 4, bytes((0, 1, 1, 2))),  # CFAPattern
        (50713, "H", 2, (2, 2)),  # BlackLevelRepeatDim
        (50714, "I", 4, (60, 61, 62, 63)),  # BlackLevel
        (50717, "I", 1, 1023),  # WhiteLevel
        (50715, "2i", width, fractions([0.5] * width)),  # BlackLevelDeltaH
        (50719, "I", 2, (2, 1)),  # DefaultCropOrigin
        (50720, "I", 2, (width - 4, height - 2)),  # DefaultCropSize
        (50722, "2i", 9, fractions(np.ravel(CAMERA["xyz2cam"]).tolist())),  # ColorMatrix2
        (50779, "H", 1, 17),  # CalibrationIlluminant2: standard light A
        (50729, "2I", 2, fractions((0.3127, 0.3290))),  # AsShotWhiteXY
        (50730, "2i", 1, (1, 2)),  # BaselineExposure
        (51041, "d", 2, (2e-3, 9e-6)),  # NoiseProfile
        (51009, "B", len(shading), shading),  # OpcodeList2
        (271, "s", 0, "Maker"),
        (272, "s", 0, "Model"),
        (33434, "2I", 1, (1, 60)),  # ExposureTime
        (33437, "2I", 1, (28, 10)),  # FNumber
        (34855, "H", 1, 400),  # ISOSpeedRatings
        (36867, "s", 0, "2024:05:06 07:08:09"),  # DateTimeOriginal
    ]
    with tifffile.TiffWriter(path) as file:
        file.write(mosaic, photometric=32803, metadata=None, extratags=[(*tag, True) for tag in tags])


def _write_weights(root: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        small = TwoStageRestorer(SingleFrameNet(4), LowResolutionFeatures(4), Matcher(4)).state_dict()
        state = TwoStageRestorer(TwoStageNet(8, 4), LowResolutionFeatures(8), Matcher(4)).state_dict()
    save_weights(root / "small.safetensors", small, SMALL)
    save_weights(root / "tiny.safetensors", state, NODES)
    torch.save({"params": state, "metadata": NODES}, root / "tiny.pth")


def _write_foreign_stores(root: Path, frames: dict[str, np.ndarray]) -> None:
    height, width = picture().shape[:2]
    keys = {name: name.replace("/", "_") for name in frames}
    values = {
        "edvr": {keys[name]: np.ascontiguousarray(rgb[..., ::-1]).tobytes() for name, rgb in frames.items()},
        "basicsr": {name: encoded(rgb, "png") for name, rgb in frames.items()},
    }
    for layout, entries in values.items():
        with lmdb.open(str(root / layout), map_size=2**22) as environment, environment.begin(write=True) as transaction:
            for key, value in entries.items():
                transaction.put(key.encode(), value)
        (root / layout / "lock.mdb").unlink()
    meta = {"name": "set", "keys": sorted(keys.values()), "resolution": f"3_{height}_{width}"}
    (root / "edvr/meta_info.pkl").write_bytes(pickle.dumps(meta))
    (root / "basicsr/meta_info.txt").write_text("".join(f"{name}.png ({height},{width},3) 1\n" for name in frames))


def make_samples(root: Path) -> None:
    """Write all samples but those that only the programs themselves can write.

    Args:
        root: an empty folder.
    """
    for number, mosaic in enumerate(mosaics()):
        for folder, suffix in (("burst", "png"), ("burst_tif", "tif")):
            (root / folder).mkdir(exist_ok=True)
            (root / folder / f"{number}.{suffix}").write_bytes(encoded(mosaic, suffix))
            write_yaml(root / folder / "camera.yml", CAMERA)
        (root / "dng").mkdir(exist_ok=True)
        write_dng(root / "dng" / f"{number}.dng", mosaic)
    for suffix in CODECS:
        (root / f"clip_{suffix}").mkdir()
        for number in range(FRAMES):
            (root / f"clip_{suffix}" / f"{number}.{suffix}").write_bytes(encoded(picture(number, 24, 32), suffix))
    for clip in ("x", "y"):
        (root / "clips" / clip).mkdir(parents=True)
        for number in range(FRAMES):
            write_picture(root / "clips" / clip / f"{number:03d}.png", picture(number, 24, 32))
    for number, name in enumerate(("stills", "other_stills")):
        (root / name).mkdir()
        write_picture(root / name / "0.png", picture(60 * number, 96, 96))
    planes = [torch.rand(4, 12, 16, generator=torch.Generator().manual_seed(number)) for number in range(FRAMES)]
    write_scene(root / "scenes" / "Scene01", planes, 2e-3, 3e-3)
    frames = {}
    for clip in ("000", "001"):
        (root / "sources" / clip).mkdir(parents=True)
        for number in range(FRAMES):
            rgb = picture(number + 40 * int(clip))
            write_picture(root / "sources" / clip / f"{number:08d}.png", rgb)
            frames[f"{clip}/{number:08d}"] = rgb
    for compression in ("none", "png"):
        write_store(root / "sources", root / f"store_{compression}", compression)
    _write_foreign_stores(root, frames)
    _write_weights(root)
    write_yaml(root / "train.yml", TRAINING)
    write_yaml(root / "train_on_clips.yml", TRAINING_ON_CLIPS)
    write_yaml(root / "test.yml", EVALUATION)
