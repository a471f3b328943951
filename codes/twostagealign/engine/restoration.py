"""From a folder with a burst to restored pictures in another folder."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from twostagealign.data import Burst, Clip, degrade_by_protocol, frame_window, read_raw_folder, write_picture
from twostagealign.engine.checkpoint import open_restorer
from twostagealign.engine.device import pick_device
from twostagealign.engine.quality import develop, measure, picture
from twostagealign.engine.tiling import Tiling, count_tiles, restore_frame
from twostagealign.errors import UserError
from twostagealign.files import output_folder, write_atomically
from twostagealign.isp import PROTOCOL_LEVELS, extend_to_rggb, noise_map, pack, red_position

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
        """The burst of these frames, batch of one; the reference is in the middle."""

    def crop(self, image: Tensor) -> Tensor:
        """Cut a restored picture (3, 2H, 2W) of such a burst to the size of the frames."""


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
        """Unprocess, mosaic and add the noise that belongs to each frame's place in the clip."""
        return degrade_by_protocol(self.clip.frames(indices), *self.noise, [index + 1 for index in indices])

    def crop(self, image: Tensor) -> Tensor:
        """Nothing to cut: the clip's frames have even sides."""
        return image


class RawSource:
    """Bayer mosaics of a real camera, of any size and colour filter order.

    Args:
        folder: mosaics and camera.yml.
    """

    def __init__(self, folder: Path) -> None:
        self.raw = read_raw_folder(folder)
        self.names = _names(self.raw.paths)

    def read(self, index: int) -> Tensor:
        """One mosaic, (height, width)."""
        return self.raw[index]

    def burst(self, indices: Sequence[int]) -> Burst:
        """Extend the mosaics by mirrored rows and columns to whole RGGB cells and split them into planes."""
        lq = pack(extend_to_rggb(self.raw.frames(indices), self.raw.cfa))[None]
        return Burst(lq, noise_map(lq, self.raw.shot, self.raw.read), self.raw.camera)

    def crop(self, image: Tensor) -> Tensor:
        """Cut the mirrored rows and columns off again."""
        top, left = red_position(self.raw.cfa)
        return image[:, top : top + self.raw.height, left : left + self.raw.width]


def _names(paths: Sequence[Path]) -> list[str]:
    named: dict[str, Path] = {}
    for path in paths:
        if path.stem in named:
            raise UserError(f"{path}: found {named[path.stem].name} beside it, expected one frame of each name")
        named[path.stem] = path
    return list(named)


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
    dtype: str = "float32",
    tiling: Tiling | None = None,
) -> dict:
    """Restore one frame of a folder, or all, and write each picture as soon as it is done.

    Writes NAME.png (8-bit sRGB with the tone curve), on request NAME_linear.png (16-bit linear camera RGB), and, where
    the ground truth is known, metrics.json.

    Args:
        input: folder of Bayer mosaics with camera.yml, or of ordinary pictures for `simulate`.
        output: folder for the results.
        checkpoint: weights; see `open_restorer`.
        features_checkpoint: weights of the feature net, where `checkpoint` does not hold them.
        simulate: a noise level of the test protocol; the pictures are degraded by it.
        frames: length of the window around the reference frame; None: 5, or all frames where there are fewer.
        reference: index of the frame to restore; None: the middle one.
        sliding: restore every frame.
        linear: also write 16-bit linear pictures.
        device: auto, cpu or cuda.
        dtype: name of the dtype that the network computes in; matching stays in float32.
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
    restorer.network.to(getattr(torch, dtype))
    for index in sorted(set().union(*windows.values())):
        source.read(index)  # a damaged frame is found before anything is written
    output_folder(output)

    measures = []
    start = time.perf_counter()
    with tqdm(total=0, unit="tile", desc="restoring", dynamic_ncols=True) as progress:
        for index, window in windows.items():
            burst = source.burst(window)
            progress.total = len(windows) * count_tiles(burst.lq.shape[-2:], tiling)
            image = restore_frame(restorer, burst.lq[0], burst.noise_map[0], tiling, progress.update).image
            image = source.crop(image)
            srgb = develop(image, burst.camera)
            name = source.names[index]
            write_picture(output / f"{name}.png", picture(srgb))
            if linear:
                levels = image.clamp(0, 1).mul(65535).round().permute(1, 2, 0)
                write_picture(output / f"{name}_linear.png", levels.numpy().astype("uint16"))
            if burst.target is not None:
                measures.append({"name": name, **asdict(measure(srgb, develop(burst.target[0], burst.camera)))})
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


def table(result: dict) -> str:
    """The measures as lines for the screen."""
    rows = [*result["frames"], {"name": "mean", **result["mean"]}]
    width = max(len(row["name"]) for row in rows)
    return "\n".join(
        [f"{'frame':{width}}  PSNR (dB)    SSIM"]
        + [f"{row['name']:{width}}  {row['psnr']:9.3f}  {row['ssim']:.4f}" for row in rows]
    )
