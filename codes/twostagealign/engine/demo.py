"""The demo: a noisy burst with large shifts made out of a photograph, restored, and compared with classical methods."""

import json
import time
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from twostagealign.data import bundled_picture, burst_from_picture, degrade_by_protocol, write_picture
from twostagealign.engine.checkpoint import open_restorer
from twostagealign.engine.classical import demosaicked, noise_level, non_local_means
from twostagealign.engine.demo_figure import Panel, compare_offsets, draw_comparison
from twostagealign.engine.device import pick_device
from twostagealign.engine.quality import develop, measure, picture
from twostagealign.engine.tiled_restoration import restore_frame
from twostagealign.engine.tiling import Tiling, count_tiles
from twostagealign.errors import UserError
from twostagealign.files import output_folder, write_atomically
from twostagealign.isp import PROTOCOL_LEVELS

FRAMES = 5
SIZE = (384, 512)
"""Height and width of the frames in RGB pixels, even; less where the photograph is smaller."""
SPEED = (16.0, 24.0)
"""Least and greatest motion from a frame to the next, raw pixels; the default search window reaches 24."""


def run_demo(
    output: Path,
    checkpoint: Path,
    source: str,
    noise: str = "high",
    device: str = "auto",
    seed: int = 0,
) -> dict:
    """Make a burst, restore it, and write pictures and measures.

    Writes noisy.png, restored.png, ground_truth.png, comparison.png and metrics.json.

    Args:
        output: folder for the results.
        checkpoint: weights; see `open_restorer`.
        source: the photograph, one of `data.BUNDLED`.
        noise: a noise level of the test protocol.
        device: auto, cpu or cuda; of the network.
        seed: of the camera's walk, 0 or more.

    Returns:
        What metrics.json holds; shifts are [y, x] in raw pixels.

    Raises:
        UserError: an argument or file cannot be used or the output cannot be written.
    """
    if seed < 0:
        raise UserError(f"--seed: found {seed}, expected 0 or more")
    start = time.perf_counter()
    photograph = bundled_picture(source)
    restorer = open_restorer(checkpoint).to(pick_device(device))
    output_folder(output)
    height, width = (min(wanted, side // 2 * 2) for wanted, side in zip(SIZE, photograph.shape[:2], strict=True))
    frames, shifts = burst_from_picture(photograph, FRAMES, (height, width), SPEED, seed=seed)
    burst = degrade_by_protocol(frames, *PROTOCOL_LEVELS[noise], list(range(1, FRAMES + 1)))
    target = develop(burst.target[0], burst.camera)

    tiling = Tiling()
    with tqdm(total=count_tiles(burst.lq.shape[-2:], tiling) + 2, unit="step", dynamic_ncols=True) as progress:
        progress.set_description("restoring")
        restored = restore_frame(restorer, burst.lq[0], burst.noise_map[0], tiling, progress.update)
        ours = develop(restored.image, burst.camera)
        progress.set_description("non-local means")
        noisy = demosaicked(burst)
        smoothed = non_local_means(noisy, noise_level(burst))
        progress.update()
        progress.set_description("drawing")
        methods = {"demosaicking": noisy, "demosaicking + non-local means": smoothed, "TwoStageAlign": ours}
        quality = {name: measure(srgb, target) for name, srgb in methods.items()}
        offsets = compare_offsets(restored, shifts, tiling.patch)
        for name, srgb in (("noisy", noisy), ("restored", ours), ("ground_truth", target)):
            write_picture(output / f"{name}.png", picture(srgb))
        panels = [Panel(name[0].upper() + name[1:], picture(srgb), quality[name]) for name, srgb in methods.items()]
        panels.append(Panel("Ground truth", picture(target)))
        title = f"{source}, {noise} noise, {FRAMES} frames, {SPEED[0]:g} to {SPEED[1]:g} raw pixels from frame to frame"
        draw_comparison(output / "comparison.png", title, panels, offsets)
        progress.update()

    found, visible = offsets.count_found()
    result = {
        "methods": {name: asdict(value) for name, value in quality.items()},
        "picture": source,
        "noise": noise,
        "seed": seed,
        "checkpoint": str(checkpoint),
        "tiling": asdict(tiling),
        "true_shifts": shifts.tolist(),
        "matched_shifts_median": offsets.median(),
        "tiles_found": found,
        "tiles_visible": visible,
        "seconds": round(time.perf_counter() - start, 3),
    }
    text = json.dumps(result, indent=2) + "\n"
    write_atomically(output / "metrics.json", lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return result


def table(result: dict) -> str:
    """The measures as lines for the screen."""
    width = max(map(len, result["methods"]))
    return "\n".join(
        [f"{'method':{width}}  PSNR (dB)    SSIM"]
        + [f"{name:{width}}  {value['psnr']:9.3f}  {value['ssim']:.4f}" for name, value in result["methods"].items()]
    )
