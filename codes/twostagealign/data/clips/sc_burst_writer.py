"""Writing SC_burst scenes: MATLAB v7.3 files of the structure that `data.sc_burst` describes, made from any clip."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import h5py
import numpy as np
from torch import Tensor

from twostagealign.data.clips.sc_burst import NOISE_PROFILE
from twostagealign.isp import unpack
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically

# XYZ -> camera RGB and neutral of the test protocol's camera.
COLOR_MATRIX = (1.0234, -0.2969, -0.2266, -0.5625, 1.6328, -0.0469, -0.0703, 0.2188, 0.6406)
AS_SHOT_NEUTRAL = (1 / 2.0, 1.0, 1 / 1.7)

_TAGS = NOISE_PROFILE + 3
_HEADER_BYTES = 512


def write_scene(folder: Path, frames: Sequence[Tensor], shot: float, read: float) -> list[Path]:
    """Write a burst as a scene of SC_burst, taken by the test protocol's camera; return the files.

    Args:
        folder: folder of the scene; created if missing; must not contain .mat files.
        frames: noisy raw planes, (4, H, W) each, in [0, 1].
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.

    Raises:
        UserError: the folder contains .mat files or cannot be written.
    """
    output_folder(folder)
    if any(folder.glob("*.mat")):
        raise UserError(f"{folder}: found .mat files in it, expected a folder without")
    paths = [folder / f"{number:04d}.mat" for number in range(1, len(frames) + 1)]
    for path, planes in zip(paths, frames, strict=True):
        mosaic = unpack(planes).numpy().astype(np.float64)
        write_atomically(path, partial(_write_mat, mosaic=mosaic, noise_profile=(shot, read**2)))
    return paths


def _write_mat(path: Path, mosaic: np.ndarray, noise_profile: tuple[float, float]) -> None:
    with h5py.File(path, "w", userblock_size=_HEADER_BYTES) as file:
        _put(file, "im", mosaic)
        meta = _struct(file, "meta")
        _put(meta, "ColorMatrix2", np.array([COLOR_MATRIX]))
        _put(meta, "AsShotNeutral", np.array([AS_SHOT_NEUTRAL]))
        # An array of structs: for each field a dataset of references, one per struct.
        refs = file.create_group("#refs#")
        fields = {
            "ID": [np.array([[float(50000 + tag)]]) for tag in range(_TAGS)],
            "Value": [np.array([noise_profile if tag == NOISE_PROFILE else [float(tag)]]) for tag in range(_TAGS)],
        }
        tags = _struct(meta, "UnknownTags")
        for field, values in fields.items():
            references = [_put(refs, f"{field}{tag}", value).ref for tag, value in enumerate(values)]
            tags.create_dataset(field, data=np.array([references], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    text = f"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: {time.asctime()} HDF5 schema 1.00 ."
    with path.open("r+b") as file:
        file.write(text.encode("ascii").ljust(124) + b"\x00\x02IM")


def _put(group: h5py.Group, name: str, matrix: np.ndarray) -> h5py.Dataset:
    """Store a matrix as MATLAB does: column by column, with the name of its class."""
    dataset = group.create_dataset(name, data=np.ascontiguousarray(matrix.T))
    dataset.attrs["MATLAB_class"] = np.bytes_("double")
    return dataset


def _struct(parent: h5py.Group, name: str) -> h5py.Group:
    group = parent.create_group(name)
    group.attrs["MATLAB_class"] = np.bytes_("struct")
    return group
