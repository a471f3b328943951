"""From a folder with a burst to restored pictures in another folder."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from twostagealign.data import (
    Burst,
    FrameSequence,
    RawFolder,
    read_bursts,
)
from twostagealign.data.camera.reference import Reference
from twostagealign.matching import Search
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import open_restorer
from twostagealign.restoration.frame_memory import FrameMemory
from twostagealign.restoration.input import check_output, choose_windows, open_input
from twostagealign.restoration.metrics_file import describe_input
from twostagealign.restoration.outputs import Outputs, Rendering, default_tone, to_levels, write_outputs
from twostagealign.restoration.picture import restore_picture
from twostagealign.restoration.quality import Quality
from twostagealign.restoration.tile_network import record_calls
from twostagealign.restoration.tiling import FAST, Tiling, count_tiles
from twostagealign.runtime.device import pick_device, pick_dtype
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_json
from twostagealign.runtime.stopwatch import Stopwatch
from twostagealign.runtime.warning_log import collect_warnings


@dataclass(frozen=True)
class Restored:
    """A restored picture.

    Attributes:
        picture: rendered sRGB, (2H, 2W, 3), uint8 or uint16.
        linear: linear camera RGB, (2H, 2W, 3) uint16, if it was asked for.
        quality: PSNR and SSIM, where the ground truth is known.
        seconds: time spent on "matching", "network" and "rendering", which is the rest.
    """

    picture: np.ndarray
    linear: np.ndarray | None
    quality: Quality | None
    seconds: dict[str, float]


def restore_burst(
    restorer: TwoStageRestorer,
    burst: Burst,
    tiling: Tiling,
    rendering: Rendering | None = None,
    linear: bool = False,
    progress: Callable[[int], object] = lambda tiles: None,
    strength: float = 1.0,
    memory: FrameMemory | None = None,
) -> Restored:
    """Restore a burst in little memory: what grows with the frame are frames and pictures as they are in files.

    Args:
        restorer: in evaluation mode, on the device to work on.
        burst: what to restore.
        tiling: sizes.
        rendering: how the picture is rendered; None: with the usual tone, in 8 bits.
        linear: whether linear RGB is asked for.
        progress: called with the number of patches just finished.
        strength: share of the restored picture in a blend with the demosaicked reference frame, 0 to 1.
        memory: what is known of frames from bursts before; None: nothing.

    Raises:
        FloatingPointError: the result is not finite.
    """
    start = time.perf_counter()
    rendering = rendering or Rendering(default_tone(burst))
    height, width = (2 * side for side in burst.size)
    picture = np.empty((height, width, 3), np.uint16 if rendering.deep else np.uint8)
    levels = np.empty((height, width, 3), np.uint16) if linear else None

    def take(rows: slice, strip: Tensor) -> None:
        picture[rows] = rendering.pixels(strip, burst.camera)
        if levels is not None:
            levels[rows] = to_levels(strip.permute(1, 2, 0).numpy())

    matches, quality = restore_picture(restorer, burst, tiling, take, progress, strength=strength, memory=memory)
    seconds = {stage: matches.seconds[stage] for stage in ("matching", "network")}
    seconds["rendering"] = time.perf_counter() - start - sum(seconds.values())
    return Restored(picture, levels, quality, seconds)


@dataclass(frozen=True)
class Request:
    """Arguments of a restoration.

    Attributes:
        checkpoint: weights; see `open_restorer`.
        features_checkpoint: weights of the feature net, where `checkpoint` does not hold them.
        simulate: a noise level of the test protocol, by which pictures are degraded; None: the frames are raw.
        frames: length of the window around the reference frame; None: 5, or all frames where there are fewer.
        reference: index of the frame to restore, or how it is chosen; None: the sharpest frame of a camera, otherwise
            the middle one.
        sliding: restore every frame.
        outputs: files that are written of each picture.
        device: auto, cpu or cuda.
        dtype: dtype that the network computes in, see `pick_dtype`; matching stays in float32.
        tiling: sizes of the tiles; `Tiling()` has those of the paper's REDS protocol.
        search: where patches are searched; by default as in the paper's REDS protocol.
        cuda_graphs: record and replay the network's work on a GPU; see `restoration.replay`.
    """

    checkpoint: Path
    features_checkpoint: Path | None = None
    simulate: str | None = None
    frames: int | None = None
    reference: Reference | None = None
    sliding: bool = False
    outputs: Outputs = field(default_factory=Outputs)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: str = "auto"
    tiling: Tiling = FAST
    search: Search = field(default_factory=Search)
    cuda_graphs: bool = True


def restore_folder(
    input: Path | Sequence[Path],
    output: Path,
    request: Request,
    restorer: TwoStageRestorer | None = None,
    take: Callable[[np.ndarray], object] = lambda picture: None,
) -> dict[str, Any]:
    """Restore one frame of a folder, or all, and write each picture as soon as it is done.

    Writes the rendered picture NAME.png, .tif or .jpg, on request NAME_linear.png (16-bit linear camera RGB) and
    NAME.dng, and metrics.json.

    Args:
        input: folder of raw files, of Bayer mosaics with camera.yml, or of ordinary pictures to simulate; or a list of
            such files. A single one is restored alone.
        output: folder for the results.
        request: the other arguments.
        restorer: from `load_restorer`; None: it is loaded here.
        take: called with each rendered picture, (height, width, 3), uint8 or uint16.

    Returns:
        Content of metrics.json, as `metrics_file.Metrics` describes it.

    Raises:
        UserError: an input cannot be used or the output cannot be written.
    """
    watch = Stopwatch(torch.device("cpu"))  # results are on the CPU at the end of each stage
    with collect_warnings() as warnings:
        with watch("examining"):
            sequence = open_input(input, request.simulate)
            sequence, windows = choose_windows(sequence, request.frames, request.reference, request.sliding)
        check_output(input, output)
        with watch("loading"):
            restorer = restorer or load_restorer(request, pick_device(request.device))
        used = sorted(set().union(*windows))
        with watch("examining"):
            for index in used:
                sequence.check(index)  # a damaged frame is found before anything is written
        output_folder(output)

        start = time.perf_counter()
        try:
            tiling = request.tiling
            settings = f"checkpoint {request.checkpoint.stem}, {tiling}"
            frames = restore_sequence(
                restorer, sequence, windows, output, tiling, request.outputs, settings, take, watch
            )
        except FloatingPointError as error:
            hint = "use another checkpoint (with --dtype float16: try bfloat16)"
            raise UserError(f"{request.checkpoint}: {error}; {hint}") from error
    result: dict[str, Any] = {
        "frames": frames,
        "checkpoint": str(request.checkpoint),
        "dtype": str(restorer.dtype).removeprefix("torch."),
        "window": len(windows[0]),
        "tiling": asdict(request.tiling) | asdict(restorer.matcher.search),
        "seconds": round(time.perf_counter() - start, 3),
        "stages": {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()},
    }
    if request.simulate:
        mean = {key: fmean(frame[key] for frame in frames) for key in ("psnr", "ssim")}
        result |= {"mean": mean, "noise": request.simulate}
    else:
        inputs = [describe_input(sequence.frames[index], sequence.metadata(index)) for index in used]
        defects = len(sequence.defects) if isinstance(sequence, RawFolder) else 0
        result |= {"inputs": inputs, "outputs": asdict(request.outputs), "defects": defects, "warnings": warnings}
    write_json(output / "metrics.json", result)
    return result


def load_restorer(request: Request, place: torch.device) -> TwoStageRestorer:
    """Load the networks, in evaluation mode, on a device."""
    restorer = open_restorer(request.checkpoint, request.features_checkpoint, search=request.search).to(place)
    record_calls(restorer.network, request.cuda_graphs)
    return restorer.compute_in(pick_dtype(request.dtype, place))


def restore_sequence(
    restorer: TwoStageRestorer,
    sequence: FrameSequence,
    windows: Sequence[Sequence[int]],
    output: Path,
    tiling: Tiling,
    outputs: Outputs | None = None,
    settings: str = "",
    take: Callable[[np.ndarray], object] = lambda picture: None,
    watch: Stopwatch | None = None,
) -> list[dict[str, Any]]:
    """Restore bursts of a sequence, and write each picture as soon as it is done.

    Args:
        restorer: in evaluation mode, on the device to work on.
        sequence: the frames; each one is read once for neighbouring windows.
        windows: for each burst, the indices of its frames.
        output: folder for the files.
        tiling: sizes of the tiles.
        outputs: files that are written of each picture; None: a PNG.
        settings: how pictures are restored, for the history in a DNG.
        take: called with each rendered picture, (height, width, 3), uint8 or uint16.
        watch: measures "reading" (waiting for frames), "matching", "network", "rendering" and "writing".

    Returns:
        For each burst an entry of `frames` in metrics.json: measures where the ground truth is known, otherwise what
        was used and written.

    Raises:
        UserError: a frame cannot be read or a picture cannot be written.
        FloatingPointError: a result is not finite.
    """
    outputs, watch = outputs or Outputs(), watch or Stopwatch(torch.device("cpu"))
    rendering: Rendering | None = None
    records: list[dict[str, Any]] = []
    memory = FrameMemory() if len(windows) > 1 else None
    total = len(windows) * count_tiles(sequence.size, tiling)
    with tqdm(total=total, unit="tile", desc="restoring", dynamic_ncols=True) as progress:
        bursts = read_bursts(sequence, windows)
        for window in windows:
            with watch("reading"):
                burst = next(bursts)
            reference = window[len(window) // 2]
            name = sequence.frames[reference]
            metadata = sequence.metadata(reference)
            if rendering is None or outputs.brightness != "auto":
                rendering = outputs.rendering(burst, metadata)  # automatic brightness: one for all, against flicker
            restored = restore_burst(
                restorer, burst, tiling, rendering, outputs.needs_linear, progress.update, outputs.strength, memory
            )
            for stage, seconds in restored.seconds.items():
                watch.add(stage, seconds)
            picture = sequence.finish(restored.picture, reference)
            linear = None if restored.linear is None else sequence.finish(restored.linear, reference)
            names = [sequence.frames[index] for index in window]
            history = f"restored from {', '.join(names)}; {settings}"
            with watch("writing"):
                files = write_outputs(output, name, picture, linear, metadata, outputs, history)
            take(picture)
            if restored.quality is None:
                how = {"tone": rendering.tone, "exposure_correction": rendering.stops}
                gains = [frame.gain for frame in burst.frames]
                records.append({"name": name, "window": names, "gains": gains, "files": files, **how})
            else:
                records.append({"name": name, **asdict(restored.quality)})
    return records


def restoration_table(result: dict[str, Any]) -> str:
    """The measures as lines for the screen."""
    rows = [*result["frames"], {"name": "mean", **result["mean"]}]
    width = max(len(row["name"]) for row in rows)
    return "\n".join(
        [f"{'frame':{width}}  PSNR (dB)    SSIM"]
        + [f"{row['name']:{width}}  {row['psnr']:9.3f}  {row['ssim']:.4f}" for row in rows]
    )
