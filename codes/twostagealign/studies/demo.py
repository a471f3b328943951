"""Demo: restore a noisy burst with large shifts, and compare it with classical methods."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from torch import Tensor
from tqdm import tqdm

from twostagealign.data import (
    PROTOCOL_NOISE,
    Burst,
    frame_window,
    open_clip,
    read_burst,
    write_picture,
)
from twostagealign.data.stills.example import EXAMPLE_SPEED, example_clip
from twostagealign.models.checkpoint import open_restorer
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.input import WINDOW
from twostagealign.restoration.quality import Quality, develop, measure, to_uint8
from twostagealign.restoration.tiling import Tiling, count_tiles
from twostagealign.runtime.device import pick_device
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_json
from twostagealign.studies.burst_averaging import block_matched_average
from twostagealign.studies.classical import demosaicked, denoised
from twostagealign.studies.demo_figure import Panel, TileOffsets, compare_offsets, draw_comparison


@dataclass(frozen=True)
class _Subject:
    """Burst to restore, and its true motion, (N, 2) [y, x] in raw pixels, where it is known."""

    name: str
    motion: str
    burst: Burst
    shifts: np.ndarray | None = None


def run_demo(
    output: Path,
    checkpoint: Path,
    source: str,
    clip: Path | None = None,
    noise: str = "high",
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Make a burst, restore it, and write pictures and measures.

    Writes noisy.png, restored.png, ground_truth.png, comparison.png and metrics.json.

    Args:
        output: folder for the results.
        checkpoint: weights; see `open_restorer`.
        source: photograph that a camera moves over, one of `data.BUNDLED`.
        clip: folder of consecutive pictures; if given, restore its middle one from five of them instead.
        noise: name of a noise level of the test protocol.
        device: device of the network: auto, cpu or cuda.
        seed: seed of the camera's walk over the photograph, 0 or more.

    Returns:
        Content of metrics.json; shifts are [y, x] in raw pixels.

    Raises:
        UserError: an argument or file is invalid, or the output cannot be written.
    """
    if seed < 0:
        raise UserError(f"--seed: found {seed}, expected 0 or more")
    start = time.perf_counter()
    subject = _clip(clip, noise) if clip else _photograph(source, noise, seed)
    restorer = open_restorer(checkpoint).to(pick_device(device))
    output_folder(output)

    tiling = Tiling()
    burst = subject.burst
    truth = develop(burst.target(), burst.camera)
    with tqdm(total=count_tiles(burst.size, tiling) + 3, unit="step", dynamic_ncols=True) as progress:
        progress.set_description("restoring")
        restored = restore_frame(restorer, burst, tiling, progress.update)
        methods = _baselines(burst, progress)
        methods["TwoStageAlign"] = develop(restored.image, burst.camera)
        quality = {name: measure(srgb, truth) for name, srgb in methods.items()}
        offsets = None if subject.shifts is None else compare_offsets(restored, subject.shifts, tiling.patch)
        progress.set_description("drawing")
        title = f"{subject.name}, {noise} noise, {len(burst.frames)} frames, {subject.motion}"
        _write_pictures(output, title, methods, quality, truth, offsets)
        progress.update()

    result: dict[str, Any] = {
        "methods": {name: asdict(value) for name, value in quality.items()},
        "picture": subject.name,
        "noise": noise,
        "checkpoint": str(checkpoint),
        "tiling": asdict(tiling) | asdict(restorer.matcher.search),
    }
    if offsets:
        found, visible = offsets.count_found()
        result |= {
            "seed": seed,
            "true_shifts": offsets.true.tolist(),
            "matched_shifts_median": offsets.median(),
            "tiles_found": found,
            "tiles_visible": visible,
        }
    result["seconds"] = round(time.perf_counter() - start, 3)
    write_json(output / "metrics.json", result)
    return result


def _photograph(source: str, noise: str, seed: int) -> _Subject:
    clip, shifts = example_clip(source, PROTOCOL_NOISE[noise], seed)
    motion = f"{EXAMPLE_SPEED[0]:g} to {EXAMPLE_SPEED[1]:g} raw pixels from frame to frame"
    return _Subject(source, motion, read_burst(clip, clip.references), shifts)


def _clip(folder: Path, noise: str) -> _Subject:
    clip = open_clip(folder, PROTOCOL_NOISE[noise])
    count = len(clip.frames)
    window = frame_window(count // 2, count, min(WINDOW, count))
    return _Subject(f"{clip.name}, frame {clip.frames[count // 2]}", "in their own motion", read_burst(clip, window))


def _baselines(burst: Burst, progress: "tqdm[NoReturn]") -> dict[str, Tensor]:
    """Restore a burst by methods without a network: name -> sRGB."""
    methods = {"demosaicking": demosaicked(burst)}
    progress.set_description("non-local means")
    methods["demosaicking + non-local means"] = denoised(burst)
    progress.update()
    progress.set_description("burst average")
    methods["burst average + non-local means"] = denoised(block_matched_average(burst))
    progress.update()
    return methods


def _write_pictures(
    output: Path,
    title: str,
    methods: dict[str, Tensor],
    quality: dict[str, Quality],
    truth: Tensor,
    offsets: TileOffsets | None,
) -> None:
    files = {"noisy": methods["demosaicking"], "restored": methods["TwoStageAlign"], "ground_truth": truth}
    for name, srgb in files.items():
        write_picture(output / f"{name}.png", to_uint8(srgb))
    panels = [Panel(name[0].upper() + name[1:], to_uint8(srgb), quality[name]) for name, srgb in methods.items()]
    panels.append(Panel("Ground truth", to_uint8(truth)))
    draw_comparison(output / "comparison.png", title, panels, offsets)


def demo_table(result: dict[str, Any]) -> str:
    """Format the measures as a table for the terminal."""
    width = max(map(len, result["methods"]))
    return "\n".join(
        [f"{'method':{width}}  PSNR (dB)    SSIM"]
        + [f"{name:{width}}  {value['psnr']:9.3f}  {value['ssim']:.4f}" for name, value in result["methods"].items()]
    )
