"""From a burst to a picture, strip by strip."""

from collections.abc import Callable

import torch
from torch import Tensor

from twostagealign.data.burst import Burst
from twostagealign.isp import fade_highlights
from twostagealign.models import TwoStageRestorer
from twostagealign.restoration.frame import Matches, restore_strips
from twostagealign.restoration.frame_memory import FrameMemory
from twostagealign.restoration.quality import Quality, develop, measure
from twostagealign.restoration.reference import demosaic_rows
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.memory import give_back_memory


def restore_picture(
    restorer: TwoStageRestorer,
    burst: Burst,
    tiling: Tiling,
    take: Callable[[slice, Tensor], object],
    progress: Callable[[int], object] = lambda tiles: None,
    begin_frame: Callable[[], object] = lambda: None,
    strength: float = 1.0,
    memory: FrameMemory | None = None,
) -> tuple[Matches, Quality | None]:
    """Restore the reference frame of a burst. What grows with the frame is what `take` keeps.

    Args:
        restorer: in evaluation mode, on the device to work on.
        burst: what to restore, H x W raw planes.
        tiling: sizes of the tiles.
        take: called with one strip after the other, from top to bottom: its rows in the picture, and linear camera
            RGB, (3, rows, 2W), float32, on the CPU.
        progress: called with the number of patches just finished.
        begin_frame: called before the patches are searched in each frame, and in the reference frame.
        strength: share of the restored picture in a blend with the demosaicked reference frame, 0 to 1.
        memory: what is known of frames from bursts before; None: nothing.

    Returns:
        Where the patches were found; and PSNR and SSIM, where the ground truth is known.

    Raises:
        FloatingPointError: the result is not finite.
        UserError: the network was made for another number of frames.
    """
    finished = 0
    colours: list[Tensor] = []

    def take_strip(linear: Tensor) -> None:
        nonlocal finished
        if not linear.isfinite().all():
            raise FloatingPointError("the network's result holds infinite values or NaN")
        give_back_memory()  # what the network has left: the strip needs some, too
        rows = range(finished, finished + linear.shape[1])
        linear = linear if burst.has_target else fade_highlights(linear, burst.camera)
        if strength < 1:
            before = demosaic_rows(burst, rows)
            linear = before + strength * (linear - before)
        if burst.has_target:
            colours.append(develop(linear, burst.camera))
        take(slice(rows.start, rows.stop), linear)
        finished = rows.stop
        give_back_memory()

    matches = restore_strips(restorer, burst, tiling, take_strip, progress, begin_frame, memory)
    if not colours:
        return matches, None
    return matches, measure(torch.cat(colours, dim=1), develop(burst.target(), burst.camera))
