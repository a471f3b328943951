"""What only the samples of a burst tell: where its sensor saturates, its noise, and its defective samples."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Levels, NoiseLevel
from twostagealign.data.camera.mosaic_file import MosaicFile
from twostagealign.data.camera.raw_file import RawFile
from twostagealign.data.frame_files import CAMERA_FILE
from twostagealign.data.metadata import UNKNOWN_NOISE, FrameMetadata
from twostagealign.isp import (
    LEAST_FRAMES,
    Rows,
    estimate_burst_noise,
    extend_to_rggb,
    find_defects,
    find_saturation,
    pack,
    replace_defects,
)
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.memory import give_back_memory
from twostagealign.runtime.threads import background_pool

_FRAMES = 9  # that are examined, of longer sequences spread over them
_READERS = 2  # threads

logger = logging.getLogger(__name__)

FrameFile = RawFile | MosaicFile


@dataclass(frozen=True)
class Survey:
    """Frames of a burst with what their samples tell.

    Attributes:
        files: the files, their metadata completed.
        defects: plane, row and column of each defective sample, (K, 3), in raw planes.
        planes: raw planes of the frames that were examined, by file, without defects.
    """

    files: Sequence[FrameFile]
    defects: Tensor
    planes: Mapping[Path, Tensor]


def read_planes(file: FrameFile) -> Tensor:
    """Read raw planes as they are stored, (4, H, W), extended to whole RGGB cells; UserError if it cannot be read."""
    mosaic = torch.from_numpy(file.read_samples())
    return pack(extend_to_rggb(mosaic[None], file.metadata.cfa))[0]


def survey(files: Sequence[FrameFile]) -> Survey:
    """Read some frames of a burst, and complete the metadata of all.

    Args:
        files: the files, all of one sensor.

    Raises:
        UserError: a frame cannot be read, or does not show its noise where it has to be estimated.
    """
    count = min(len(files), _FRAMES)
    chosen = [(2 * i + 1) * len(files) // (2 * count) for i in range(count)]
    with background_pool(_READERS) as pool:
        planes = dict(zip(chosen, pool.map(lambda index: read_planes(files[index]), chosen), strict=True))
    files = _with_noise(_with_saturation(files, planes), planes)
    defects = torch.zeros(0, 3, dtype=torch.int64)
    if count >= LEAST_FRAMES:
        noise = files[chosen[count // 2]].metadata.noise
        frames = [_scaled(files[index], planes[index]) for index in chosen]
        defects = find_defects(frames, _size(planes), noise.shot, noise.read)
        if len(defects):
            logger.warning("%s: %d defective samples of the sensor are replaced", files[0].path.parent, len(defects))
    for frame in planes.values():
        replace_defects(frame, defects)
    give_back_memory()
    return Survey(files, defects, {files[index].path: frame for index, frame in planes.items()})


def _with_saturation(files: Sequence[FrameFile], planes: dict[int, Tensor]) -> list[FrameFile]:
    """Lower white levels to where the samples of the burst pile up. camera.yml knows better."""
    levels = {_levels(file) for file in files}
    white = {level.white for level in levels}
    if len(white) > 1 or files[0].metadata.sources["white_level"] == CAMERA_FILE:
        return list(files)
    counts = sum(np.bincount(frame.numpy().ravel(), minlength=2**16) for frame in planes.values())
    black = max(max(level.black) for level in levels)
    saturation = find_saturation(np.asarray(counts), black, white.pop())
    if saturation is None:
        return list(files)
    logger.warning("%s: samples saturate at %g, which is taken as the white level", files[0].path.parent, saturation)
    return [_saturated(file, saturation) for file in files]


def _saturated(file: FrameFile, white: float) -> FrameFile:
    levels, noise = _levels(file), file.metadata.noise
    stated = levels.white
    if noise is not UNKNOWN_NOISE:
        # The noise that the file says is on the scale of the stated level.
        scale = (stated - max(levels.black)) / (white - max(levels.black))
        noise = NoiseLevel(noise.name, min(noise.shot * scale, 1), min(noise.read * scale, 1))
    text = f"samples saturate at {white:g}, although the file says {stated:g}"
    return _changed(
        file, "white_level", "samples", levels=Levels(levels.black, white), noise=noise,
        warnings=(*file.metadata.warnings, text),
    )  # fmt: skip


def _with_noise(files: Sequence[FrameFile], planes: dict[int, Tensor]) -> list[FrameFile]:
    """Estimate unknown noise from all frames that were exposed alike."""
    unknown = [file for file in files if file.metadata.noise is UNKNOWN_NOISE]
    if not unknown:
        return list(files)
    frames: dict[Hashable, list[Rows]] = {}
    for index, stored in planes.items():
        frames.setdefault(_setting(files[index]), []).append(_scaled(files[index], stored))
    levels = {setting: _estimated_noise(unknown[0].path, group, _size(planes)) for setting, group in frames.items()}
    other = next(iter(levels.values()))
    return [
        _changed(file, "noise", "samples", noise=levels.get(_setting(file), other)) if file in unknown else file
        for file in files
    ]


def _estimated_noise(path: Path, frames: Sequence[Rows], size: tuple[int, int]) -> NoiseLevel:
    try:
        shot, read = estimate_burst_noise(frames, size)
    except ValueError as error:
        raise UserError(f"{path}: {error} to estimate its noise, expected `noise` in {CAMERA_FILE}") from error
    logger.warning("%s: estimated noise: {shot: %.3g, read: %.3g}", path, shot, read)
    return NoiseLevel("camera", min(shot, 1.0), min(read, 1.0))


def _setting(file: FrameFile) -> Hashable:
    """What the noise of a frame depends on, and its brightness."""
    return (file.metadata.exposure, file.metadata.levels)


def _scaled(file: FrameFile, stored: Tensor) -> Rows:
    """Function that returns rows of the planes, scaled to [0, 1]."""
    levels = _levels(file)
    return lambda rows: levels.scale(stored[:, rows])


def _size(planes: dict[int, Tensor]) -> tuple[int, int]:
    height, width = next(iter(planes.values())).shape[1:]
    return height, width


def _levels(file: FrameFile) -> Levels:
    assert file.metadata.levels
    return file.metadata.levels


def _changed(file: FrameFile, key: str, source: str, **values: Any) -> FrameFile:
    """The file with other metadata, of which `key` comes from `source`."""
    metadata: FrameMetadata = replace(file.metadata, sources={**file.metadata.sources, key: source}, **values)
    return replace(file, metadata=metadata)
