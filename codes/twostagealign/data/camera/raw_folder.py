"""Raw bursts of a real camera: a folder of raw files, or of Bayer mosaics described by a camera.yml."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twostagealign.data.burst import Burst, RawFrame
from twostagealign.data.camera.camera_file import load_camera_file
from twostagealign.data.camera.frame_order import capture_order
from twostagealign.data.camera.hdr_plus import hdr_plus_frames, hdr_plus_reference
from twostagealign.data.camera.mosaic_file import open_mosaic_files
from twostagealign.data.camera.orientation import upright
from twostagealign.data.camera.raw_file import RawFile, open_raw_file
from twostagealign.data.camera.survey import FrameFile, read_planes, survey
from twostagealign.data.frame_files import CAMERA_FILE, is_raw, list_frames, unique_names, warn_about_numbering
from twostagealign.data.metadata import FrameMetadata
from twostagealign.data.pictures import PICTURE_SUFFIXES, write_picture
from twostagealign.data.sequence import FrameSequence
from twostagealign.isp import Camera, red_position, replace_defects, unpack
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically
from twostagealign.runtime.yaml_file import dump_yaml

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawFolder(FrameSequence):
    """A `FrameSequence` of raw files or Bayer mosaics, extended by mirrored rows and columns to whole RGGB cells.

    Attributes:
        sources: the files, in order, and what is known about each. All have one size and CFA order.
        defects: plane, row and column of each defective sample of the sensor, (K, 3); they are replaced.
        exposures: signal of each frame per light, in proportion; None: equal, or not known.
        reference: index of the reference frame that the data set says; None: it does not say one.
        loaded: raw planes of frames that are in memory, by file, without defects. The others are read when needed.
    """

    sources: Sequence[FrameFile]
    defects: Tensor
    exposures: Sequence[float] | None = None
    reference: int | None = None
    loaded: Mapping[Path, Tensor] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """The files, in order."""
        return [source.path for source in self.sources]

    def metadata(self, index: int) -> FrameMetadata:
        """Return what is known about a frame."""
        return self.sources[index].metadata

    def read(self, index: int) -> RawFrame:
        """Read a frame. Its planes are uint8 or uint16."""
        source = self.sources[index]
        planes = self.loaded.get(source.path)
        if planes is None:
            planes = read_planes(source)
            replace_defects(planes, self.defects)
        return RawFrame(planes, source.metadata.noise, source.metadata.levels)

    def unload_others(self, indices: Iterable[int]) -> "RawFolder":
        """Return the same frames, of which only these may be in memory."""
        paths = {self.sources[index].path for index in indices}
        return replace(self, loaded={path: planes for path, planes in self.loaded.items() if path in paths})

    def burst(self, window: Sequence[int], frames: Sequence[RawFrame]) -> Burst:
        """Make a burst of frames that have been read, with exposure, colours and shading of its reference frame."""
        middle = window[len(window) // 2]
        if self.exposures:
            gains = [self.exposures[middle] / self.exposures[index] for index in window]
            frames = [replace(frame, gain=gain) for frame, gain in zip(frames, gains, strict=True)]
        reference = self.sources[middle]
        return Burst(frames, reference.metadata.camera, reference.shading)

    def finish(self, picture: np.ndarray, index: int) -> np.ndarray:
        """Cut the mirrored rows and columns off a restored picture and turn it upright."""
        metadata = self.metadata(index)
        assert metadata.crop
        top, left = red_position(metadata.cfa)
        picture = picture[top : top + metadata.crop.height, left : left + metadata.crop.width]
        return upright(picture, metadata.turned)


def open_raw_folder(path: str | Path) -> RawFolder:
    """Open a folder of raw files, or of Bayer mosaics and their camera.yml, or a single such file.

    Frames are in the order of their capture times, if all files have them, otherwise in natural order of their names.

    Args:
        path: folder that contains raw files of one camera; or mosaics, PNG or TIFF of one channel, of 8 or 16 bits,
            all of one size, and camera.yml, as `camera_file` describes it. With raw files, camera.yml needs only what
            they do not say, or what it knows better. Noise that is given nowhere is estimated, with a warning. Or a
            burst of the HDR+ data set, see `hdr_plus`. Or one such file.

    Raises:
        UserError: the folder, camera.yml or the frames are missing, camera.yml is not as described, frames differ in
            size or camera, are smaller than 2 x 2 or two have one name, or one cannot be read or, where its noise has
            to be estimated, does not show it.
    """
    path = Path(path)
    if path.is_file():
        return open_raw_files([path])
    if frames := hdr_plus_frames(path):
        folder = _open(path.resolve().name, path, frames)
        return replace(folder, reference=hdr_plus_reference(path, frames))
    return in_capture_order(_open(path.resolve().name, path, list_frames(path)))


def open_raw_files(paths: Sequence[Path]) -> RawFolder:
    """Open raw files, or Bayer mosaics, one by one.

    Args:
        paths: the files, in order, at least one; as in `open_raw_folder`. camera.yml is in the folder of the first.

    Returns:
        The frames, named after the first file.

    Raises:
        UserError: as in `open_raw_folder`.
    """
    return _open(paths[0].stem, paths[0].parent, paths)


def in_capture_order(folder: RawFolder) -> RawFolder:
    """Order frames by time of capture, if all files have it; see `capture_order`."""
    order = capture_order(folder.paths, [source.metadata.captured for source in folder.sources])
    frames, sources = [folder.frames[index] for index in order], [folder.sources[index] for index in order]
    return replace(folder, frames=frames, sources=sources)


def _open(name: str, folder: Path, paths: Sequence[Path]) -> RawFolder:
    """Open raw files, or mosaics, whose camera.yml is in `folder`."""
    warn_about_numbering(paths)
    # A folder of the wrong kind of pictures is refused here, not in the middle of the work.
    surveyed = survey(open_files(folder, paths))
    metadata = surveyed.files[0].metadata
    assert metadata.crop
    top, left = red_position(metadata.cfa)
    size = ((top + metadata.crop.height + 1) // 2, (left + metadata.crop.width + 1) // 2)
    names = unique_names(paths)
    return RawFolder(name, names, size, surveyed.files, surveyed.defects, loaded=surveyed.planes)


def open_files(folder: Path, paths: Sequence[Path]) -> Sequence[FrameFile]:
    """Read the metadata of raw files, or of mosaics.

    Args:
        folder: folder of their camera.yml.
        paths: the files.

    Raises:
        UserError: a file or camera.yml cannot be used, or the files are not of one size and camera.
    """
    if not is_raw(paths[0]):
        return open_mosaic_files(folder, paths)
    camera_file = folder / CAMERA_FILE
    content = load_camera_file(camera_file) if os.path.lexists(camera_file) else {}
    return _open_raw(paths, camera_file, content)


def _open_raw(paths: Sequence[Path], camera_file: Path, content: dict[str, object]) -> list[RawFile]:
    files = [open_raw_file(path, camera_file, content) for path in paths]
    for file in files[1:]:
        found, expected = map(_kind, (file.metadata, files[0].metadata))
        if found != expected:
            raise UserError(f"{file.path}: found {found}, expected {expected} as in {paths[0].name}")
    for file in files:
        logger.info("%s: %s", file.path, ", ".join(f"{key} from {said}" for key, said in file.metadata.sources.items()))
        for warning in file.metadata.warnings:
            logger.warning("%s: %s", file.path, warning)
    return files


def _kind(metadata: FrameMetadata) -> str:
    assert metadata.crop
    camera = f"{metadata.make} {metadata.model}".strip()
    size = f"{metadata.crop.width}x{metadata.crop.height} samples, {metadata.cfa}"
    return f"{size}, of {camera}" if camera else size


def write_raw_folder(
    folder: str | Path,
    mosaics: Tensor,
    camera: Camera,
    shot: float,
    read: float,
    cfa: str = "RGGB",
    black_level: Sequence[float] = (0, 0, 0, 0),
    white_level: int = 65535,
) -> None:
    """Write a raw burst as 16-bit PNG mosaics and a camera.yml, as `open_raw_folder` reads it.

    Args:
        folder: folder of the burst; created if missing; must not contain pictures.
        mosaics: (N, height, width) in [0, 1].
        camera: colour metadata, a batch of one.
        shot: shot noise, variance per unit of signal on the [0, 1] scale.
        read: read noise, standard deviation on the [0, 1] scale.
        cfa: colours of the upper left 2 x 2 cell.
        black_level: of R, of G in red rows, of G in blue rows and of B, in stored units.
        white_level: in stored units, at most 65535.

    Raises:
        ValueError: there is more than one camera.
        UserError: the folder contains pictures or cannot be written.
    """
    if len(camera) != 1:
        raise ValueError(f"camera: found a batch of {len(camera)}, expected one")
    folder = Path(folder)
    output_folder(folder)
    if any(path.suffix.lower() in PICTURE_SUFFIXES for path in folder.iterdir()):
        raise UserError(f"{folder}: found pictures in it, expected an empty folder to write a raw burst to")
    black = _tile(black_level, cfa, *mosaics.shape[-2:])
    for number, mosaic in enumerate(mosaics.cpu()):
        stored = (black + mosaic * (white_level - black)).round().clamp(0, 65535)
        write_picture(folder / f"{number:04d}.png", stored.numpy().astype(np.uint16))
    described = {
        "cfa": cfa,
        "black_level": list(black_level),
        "white_level": white_level,
        "white_balance": {"red": camera.red_gain.item(), "blue": camera.blue_gain.item()},
        "rgb2cam": camera.rgb2cam[0].tolist(),
        "noise": {"shot": shot, "read": read},
        "rgb_gain": camera.rgb_gain.item(),
    }
    text = dump_yaml(described)
    write_atomically(folder / CAMERA_FILE, lambda temporary: temporary.write_text(text))


def _tile(levels: Sequence[float], cfa: str, height: int, width: int) -> Tensor:
    """Per-plane levels, laid out as the mosaic of a CFA order, (height, width)."""
    cell = unpack(torch.tensor(levels, dtype=torch.float32)[:, None, None], cfa)
    return cell.repeat(height // 2 + 1, width // 2 + 1)[:height, :width]
