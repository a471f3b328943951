"""From a folder with a burst to restored pictures in another folder."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from twostagealign.data import BurstBatch, Clip, degrade_by_protocol, frame_window, read_raw_folder, write_picture
from twostagealign.data.burst import Burst, Levels, NoiseLevel, RawFrame
from twostagealign.isp import PROTOCOL_LEVELS
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import open_restorer
from twostagealign.restoration.frame import restore_strips
from twostagealign.restoration.quality import develop, measure, picture
from twostagealign.restoration.tiling import Tiling, count_tiles
from twostagealign.runtime.device import pick_device, pick_dtype
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically
from twostagealign.runtime.memory import give_back_memory

WINDOW = 5
"""Frames that restore one picture unless the user says otherwise, as in the paper."""

_LEAST_MEASURED = 12
"""Smallest even side of a picture that holds the window of SSIM."""


class Source(Protocol):
    """A folder of consecutive frames, from which bursts can be taken."""

    names: Sequence[str]

    def read(self, index: int) -> Tensor:
        """One frame as it is stored."""

    def burst(self, indices: Sequence[int]) -> Burst:
        """The burst of these frames; the reference is in the middle."""

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """What of a restored picture was photographed, upright."""


class SimulatedSource:
    """Ordinary pictures, degraded by the test protocol.

    Args:
        folder: of the clip.
        noise: shot and read noise.
    """

    def __init__(self, folder: Path, noise: tuple[float, float]) -> None:
        self.clip = Clip(folder)
        height, width = self.clip.height, self.clip.width
        if min(height, width) < _LEAST_MEASURED:
            least = f"{_LEAST_MEASURED}x{_LEAST_MEASURED}"
            raise UserError(f"{folder}: found frames of {width}x{height} pixels, expected at least {least} to measure")
        self.names = _names(self.clip.paths)
        self.noise = noise

    def read(self, index: int) -> Tensor:
        """One picture, (3, 2H, 2W) uint8."""
        return self.clip[index]

    def burst(self, indices: Sequence[int]) -> Burst:
        """The burst of these frames, with its ground truth."""
        degraded, pictures = self.degrade(indices), self.clip.frames(indices)
        noise = NoiseLevel("protocol", *self.noise)
        frames = [RawFrame(raw, noise, clean=clean) for raw, clean in zip(degraded.lq[0], pictures, strict=True)]
        return Burst(frames, degraded.camera)

    def degrade(self, indices: Sequence[int]) -> BurstBatch:
        """Unprocess, mosaic and add the noise that belongs to each frame's place in the clip."""
        return degrade_by_protocol(self.clip.frames(indices), *self.noise, [index + 1 for index in indices])

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """Everything: the clip's frames have even sides."""
        return picture


class RawSource:
    """Frames of a real camera, of any size and colour filter order.

    Args:
        folder: raw files, or mosaics and camera.yml.
    """

    def __init__(self, folder: Path) -> None:
        self.raw = read_raw_folder(folder)
        self.names = _names(self.raw.paths)

    def read(self, index: int) -> Tensor:
        """Raw planes of one mosaic, uint8 or uint16."""
        return self.raw.planes(index)

    def burst(self, indices: Sequence[int]) -> Burst:
        """Raw planes of the mosaics, with the noise that the camera is said to have."""
        noise = NoiseLevel("camera", self.raw.shot, self.raw.read)
        levels = Levels(self.raw.black_level, self.raw.white_level)
        return Burst([RawFrame(self.raw.planes(index), noise, levels) for index in indices], self.raw.camera)

    def finish(self, picture: np.ndarray) -> np.ndarray:
        """Without the mirrored rows and columns that made whole cells of the mosaic."""
        return self.raw.finish(picture)


def _names(paths: Sequence[Path]) -> list[str]:
    named: dict[str, Path] = {}
    for path in paths:
        if path.stem in named:
            raise UserError(f"{path}: found {named[path.stem].name} beside it, expected one frame of each name")
        named[path.stem] = path
    return list(named)


@dataclass(frozen=True)
class Restored:
    """A restored picture.

    Attributes:
        picture: 8-bit sRGB with the tone curve, (2H, 2W, 3).
        linear: 16-bit linear camera RGB, (2H, 2W, 3), if it was asked for.
        srgb: what is measured, (3, 2H, 2W) in [0, 1], where the ground truth is known.
    """

    picture: np.ndarray
    linear: np.ndarray | None
    srgb: Tensor | None


def restore_burst(
    restorer: TwoStageRestorer,
    burst: Burst,
    tiling: Tiling,
    linear: bool = False,
    progress: Callable[[int], object] = lambda tiles: None,
) -> Restored:
    """Restore a burst in little memory: what grows with the frame are frames and pictures as they are in files.

    Args:
        restorer: in evaluation mode, on the device to work on.
        burst: what to restore.
        tiling: sizes.
        linear: whether linear RGB is asked for.
        progress: called with the number of patches just finished.

    Returns:
        The picture.
    """
    pictures, levels, colours = [], [], []

    def take(strip: Tensor) -> None:
        give_back_memory()  # what the network has left: the strip needs some, too
        srgb = develop(strip, burst.camera)
        pictures.append(picture(srgb))
        if linear:
            levels.append(strip.clamp(0, 1).mul(65535).round().permute(1, 2, 0).numpy().astype("uint16"))
        if burst.reference.clean is not None:
            colours.append(srgb)
        give_back_memory()

    restore_strips(restorer, burst, tiling, take, progress)
    return Restored(
        picture=np.concatenate(pictures),
        linear=np.concatenate(levels) if linear else None,
        srgb=torch.cat(colours, dim=1) if colours else None,
    )


def restore_folder(
    input: Path,
    output: Path,
    checkpoint: Path,
    features_checkpoint: Path | None = None,
    simulate: str | None = None,
    frames: int | None = None,
    reference: int | None = None,
    sliding: bool = False,
    linear: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    tiling: Tiling | None = None,
) -> dict:
    """Restore one frame of a folder, or all, and write each picture as soon as it is done.

    Writes NAME.png (8-bit sRGB with the tone curve), on request NAME_linear.png (16-bit linear camera RGB), and, where
    the ground truth is known, metrics.json.

    Args:
        input: folder of raw files, of Bayer mosaics with camera.yml, or of ordinary pictures for `simulate`.
        output: folder for the results.
        checkpoint: weights; see `open_restorer`.
        features_checkpoint: weights of the feature net, where `checkpoint` does not hold them.
        simulate: a noise level of the test protocol; the pictures are degraded by it.
        frames: length of the window around the reference frame; None: 5, or all frames where there are fewer.
        reference: index of the frame to restore; None: the middle one.
        sliding: restore every frame.
        linear: also write 16-bit linear pictures.
        device: auto, cpu or cuda.
        dtype: that the network computes in, see `pick_dtype`; matching stays in float32.
        tiling: sizes of the tiles; None: those of the paper's REDS protocol.

    Returns:
        The measures: `frames` (name, psnr, ssim of each), `mean`, and how they came about; empty without ground truth.

    Raises:
        UserError: an input cannot be used or the output cannot be written.
    """
    tiling = tiling or Tiling()
    source = SimulatedSource(input, PROTOCOL_LEVELS[simulate]) if simulate else RawSource(input)
    count = len(source.names)
    if frames is not None and not 1 <= frames <= count:
        raise UserError(f"--frames: found {frames}, expected 1 to {count}, the number of frames in {input}")
    if reference is not None and not 0 <= reference < count:
        raise UserError(f"--reference: found {reference}, expected 0 to {count - 1}, the frames in {input}")
    if output.resolve() == input.resolve():
        raise UserError(f"{output}: found the input folder, expected another one for the results")
    length = frames or min(WINDOW, count)
    references = range(count) if sliding else [count // 2 if reference is None else reference]
    windows = {index: frame_window(index, count, length) for index in references}
    place = pick_device(device)
    restorer = open_restorer(checkpoint, features_checkpoint).to(place)
    restorer.network.to(pick_dtype(dtype, place))
    for index in sorted(set().union(*windows.values())):
        source.read(index)  # a damaged frame is found before anything is written
    output_folder(output)

    measures = []
    start = time.perf_counter()
    with tqdm(total=0, unit="tile", desc="restoring", dynamic_ncols=True) as progress:
        for index, window in windows.items():
            burst = source.burst(window)
            progress.total = len(windows) * count_tiles(burst.size, tiling)
            restored = restore_burst(restorer, burst, tiling, linear, progress.update)
            name = source.names[index]
            write_picture(output / f"{name}.png", source.finish(restored.picture))
            if linear:
                write_picture(output / f"{name}_linear.png", source.finish(restored.linear))
            target = burst.target()
            if target is not None:
                measures.append({"name": name, **asdict(measure(restored.srgb, develop(target, burst.camera)))})
    if not measures:
        return {}
    result = {
        "frames": measures,
        "mean": {key: fmean(entry[key] for entry in measures) for key in ("psnr", "ssim")},
        "noise": simulate,
        "checkpoint": str(checkpoint),
        "window": length,
        "tiling": asdict(tiling),
        "seconds": round(time.perf_counter() - start, 3),
    }
    text = json.dumps(result, indent=2) + "\n"
    write_atomically(output / "metrics.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return result


def restoration_table(result: dict) -> str:
    """The measures as lines for the screen."""
    rows = [*result["frames"], {"name": "mean", **result["mean"]}]
    width = max(len(row["name"]) for row in rows)
    return "\n".join(
        [f"{'frame':{width}}  PSNR (dB)    SSIM"]
        + [f"{row['name']:{width}}  {row['psnr']:9.3f}  {row['ssim']:.4f}" for row in rows]
    )
