"""The demo: a noisy burst with large shifts, restored, and compared with classical methods."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from twostagealign.data import (
    BurstBatch,
    bundled_picture,
    burst_from_picture,
    degrade_by_protocol,
    frame_window,
    write_picture,
)
from twostagealign.isp import PROTOCOL_LEVELS
from twostagealign.models.checkpoint import open_restorer
from twostagealign.restoration.folder import WINDOW, SimulatedSource
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure, picture
from twostagealign.restoration.tiling import Tiling, count_tiles
from twostagealign.runtime.device import pick_device
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import output_folder, write_atomically
from twostagealign.studies.burst_averaging import block_matched_average
from twostagealign.studies.classical import demosaicked, denoised
from twostagealign.studies.demo_figure import Panel, compare_offsets, draw_comparison

SIZE = (384, 512)
"""Height and width of the frames made of a photograph, RGB pixels, even; less where the photograph is smaller."""
SPEED = (16.0, 24.0)
"""Least and greatest motion from a frame to the next, raw pixels; the default search window reaches 24."""


@dataclass(frozen=True)
class _Subject:
    """What is restored: its name, how its frames move, the burst, and the true motion, (N, 2), where it is known."""

    name: str
    motion: str
    burst: BurstBatch
    shifts: np.ndarray | None = None


def run_demo(
    output: Path,
    checkpoint: Path,
    source: str,
    clip: Path | None = None,
    noise: str = "high",
    device: str = "auto",
    seed: int = 0,
) -> dict:
    """Make a burst, restore it, and write pictures and measures.

    Writes noisy.png, restored.png, ground_truth.png, comparison.png and metrics.json.

    Args:
        output: folder for the results.
        checkpoint: weights; see `open_restorer`.
        source: the photograph, one of `data.BUNDLED`, that a camera moves over.
        clip: folder of consecutive pictures; their middle one is restored instead, from five of them.
        noise: a noise level of the test protocol.
        device: auto, cpu or cuda; of the network.
        seed: of the camera's walk over the photograph, 0 or more.

    Returns:
        What metrics.json holds; shifts are [y, x] in raw pixels.

    Raises:
        UserError: an argument or file cannot be used or the output cannot be written.
    """
    if seed < 0:
        raise UserError(f"--seed: found {seed}, expected 0 or more")
    start = time.perf_counter()
    subject = _clip(clip, noise) if clip else _photograph(source, noise, seed)
    restorer = open_restorer(checkpoint).to(pick_device(device))
    output_folder(output)
    burst = subject.burst
    target = develop(burst.target[0], burst.camera)

    tiling = Tiling()
    with tqdm(total=count_tiles(burst.lq.shape[-2:], tiling) + 3, unit="step", dynamic_ncols=True) as progress:
        progress.set_description("restoring")
        restored = restore_frame(restorer, burst.burst(), tiling, progress.update)
        methods = {"demosaicking": demosaicked(burst)}
        progress.set_description("non-local means")
        methods["demosaicking + non-local means"] = denoised(burst)
        progress.update()
        progress.set_description("burst average")
        methods["burst average + non-local means"] = denoised(block_matched_average(burst))
        progress.update()
        progress.set_description("drawing")
        methods["TwoStageAlign"] = develop(restored.image, burst.camera)
        quality = {name: measure(srgb, target) for name, srgb in methods.items()}
        offsets = None if subject.shifts is None else compare_offsets(restored, subject.shifts, tiling.patch)
        files = {"noisy": methods["demosaicking"], "restored": methods["TwoStageAlign"], "ground_truth": target}
        for name, srgb in files.items():
            write_picture(output / f"{name}.png", picture(srgb))
        panels = [Panel(name[0].upper() + name[1:], picture(srgb), quality[name]) for name, srgb in methods.items()]
        panels.append(Panel("Ground truth", picture(target)))
        title = f"{subject.name}, {noise} noise, {burst.lq.shape[1]} frames, {subject.motion}"
        draw_comparison(output / "comparison.png", title, panels, offsets)
        progress.update()

    result = {
        "methods": {name: asdict(value) for name, value in quality.items()},
        "picture": subject.name,
        "noise": noise,
        "checkpoint": str(checkpoint),
        "tiling": asdict(tiling),
    }
    if offsets:
        found, visible = offsets.count_found()
        result |= {
            "seed": seed,
            "true_shifts": subject.shifts.tolist(),
            "matched_shifts_median": offsets.median(),
            "tiles_found": found,
            "tiles_visible": visible,
        }
    result["seconds"] = round(time.perf_counter() - start, 3)
    text = json.dumps(result, indent=2) + "\n"
    write_atomically(output / "metrics.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return result


def _photograph(source: str, noise: str, seed: int) -> _Subject:
    photograph = bundled_picture(source)
    height, width = (min(wanted, side // 2 * 2) for wanted, side in zip(SIZE, photograph.shape[:2], strict=True))
    frames, shifts = burst_from_picture(photograph, WINDOW, (height, width), SPEED, seed=seed)
    burst = degrade_by_protocol(frames, *PROTOCOL_LEVELS[noise], list(range(1, WINDOW + 1)))
    return _Subject(source, f"{SPEED[0]:g} to {SPEED[1]:g} raw pixels from frame to frame", burst, shifts)


def _clip(folder: Path, noise: str) -> _Subject:
    frames = SimulatedSource(folder, PROTOCOL_LEVELS[noise])
    count = len(frames.names)
    window = frame_window(count // 2, count, min(WINDOW, count))
    name = f"{folder.resolve().name}, frame {frames.names[count // 2]}"
    return _Subject(name, "in their own motion", frames.degrade(window))


def demo_table(result: dict) -> str:
    """The measures as lines for the screen."""
    width = max(map(len, result["methods"]))
    return "\n".join(
        [f"{'method':{width}}  PSNR (dB)    SSIM"]
        + [f"{name:{width}}  {value['psnr']:9.3f}  {value['ssim']:.4f}" for name, value in result["methods"].items()]
    )
