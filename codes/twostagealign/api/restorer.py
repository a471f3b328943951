"""A loaded checkpoint that restores bursts."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from twostagealign.api.bursts import RawBurst
from twostagealign.api.result import Result
from twostagealign.matching import Search
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.restoration.folder import Request, load_restorer
from twostagealign.restoration.outputs import automatic_brightness, default_tone
from twostagealign.restoration.picture import restore_picture
from twostagealign.restoration.tiling import FAST, Tiling, count_tiles
from twostagealign.runtime.device import pick_device
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.memory import give_back_memory

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]


class Restorer:
    """Restores bursts with the networks of one checkpoint. `load` makes it.

    Args:
        model: the networks and the matcher, in evaluation mode, on the device to work on.
        name: name or file of the checkpoint, for display.
    """

    def __init__(self, model: TwoStageRestorer, name: str) -> None:
        self.model = model
        self.name = name

    def __repr__(self) -> str:
        return f"<Restorer {self.name}: {type(self.model.network).__name__} on {self.device}>"

    @property
    def device(self) -> torch.device:
        """The device that it works on."""
        return next(self.model.parameters()).device

    def restore(
        self,
        burst: RawBurst,
        tiling: Tiling | None = None,
        progress: Callable[[int, int], object] | None = None,
        preview: Callable[[np.ndarray], object] | None = None,
    ) -> Result:
        """Restore the reference frame of a burst.

        Args:
            burst: from `read_burst`, `burst_from_arrays` or `simulate`.
            tiling: sizes of the tiles; None: `FAST`. `Tiling()` has those of the paper's REDS protocol.
            progress: called with the number of finished patches and the number of all patches; with 0 before they are
                searched in each frame. An exception that it raises ends the work.
            preview: called after each finished strip with the picture so far: linear camera RGB,
                (height, width, 3) float32, upright, NaN where it is not restored yet. It is always the same array.

        Returns:
            The picture.

        Raises:
            UserError: the result is not finite.
            ValueError: an argument is of another type.
        """
        if not isinstance(burst, RawBurst):
            found = type(burst).__name__
            raise ValueError(f"burst: found {found}, expected what read_burst, burst_from_arrays or simulate returns")
        if tiling is not None and not isinstance(tiling, Tiling):
            raise ValueError(f"tiling: found {type(tiling).__name__}, expected a Tiling")
        tiling = tiling or FAST
        frames = burst.frames
        height, width = (2 * side for side in frames.size)
        linear = np.full((height, width, 3), np.nan, np.float32)

        def take(rows: slice, strip: Tensor) -> None:
            linear[rows] = strip.permute(1, 2, 0).numpy()
            if preview:
                preview(burst.source.finish(linear, burst.reference))

        done, total = 0, count_tiles(frames.size, tiling)

        def count(patches: int) -> None:
            nonlocal done
            done += patches
            if progress:
                progress(done, total)

        brightness = automatic_brightness(frames)
        give_back_memory()  # what reading has left
        begin_frame = partial(count, 0)
        try:
            matches, quality = restore_picture(self.model, frames, tiling, take, count, begin_frame)
        except FloatingPointError as error:
            raise UserError(
                f"{self.name}: the network's result is not finite; use another checkpoint or dtype"
            ) from error
        rows = len(matches.origins[:, 0].unique())
        give_back_memory()
        return Result(
            linear=np.ascontiguousarray(burst.source.finish(linear, burst.reference)),
            shifts=matches.shifts.unflatten(0, (rows, -1)).numpy(),
            window=burst.window,
            metadata=burst.source.metadata(burst.reference),
            default_tone=default_tone(frames),
            automatic_brightness=brightness,
            settings=f"{len(burst)} frames, checkpoint {self.name}, {tiling}",
            quality=quality,
        )


def load(
    name: str | Path,
    device: Device = "auto",
    dtype: Dtype = "auto",
    features: str | Path | None = None,
    search: Search | None = None,
) -> Restorer:
    """Load a checkpoint.

    Args:
        name: name of a shipped checkpoint, such as "tiny", or a file: weights or a training state of this project, or
            the released weights of the paper's authors.
        device: "auto" (cuda if there is one), "cpu" or "cuda".
        dtype: what the network computes in: "auto" (bfloat16 where the device has instructions for it, else float32),
            "float32", "bfloat16", "float16" or "float64".
        features: file of the feature net, which released weights have apart.
        search: where patches are searched; None: up to 24 raw pixels from frame to frame.

    Returns:
        The restorer.

    Raises:
        UserError: there is no such checkpoint, it cannot be used, or there is no such device.
        ValueError: an argument is not as above.
    """
    if not isinstance(name, str | Path):
        raise ValueError(f"name: found {name!r}, expected a name or a file")
    for argument, value, known in (("device", device, get_args(Device)), ("dtype", dtype, get_args(Dtype))):
        if value not in known:
            raise ValueError(f"{argument}: found {value!r}, expected one of {', '.join(known)}")
    if search is not None and not isinstance(search, Search):
        raise ValueError(f"search: found {type(search).__name__}, expected a Search")
    place = pick_device(device)
    feature_file = None if features is None else Path(features)
    request = Request(find_checkpoint(str(name)), feature_file, dtype=dtype, search=search or Search())
    return Restorer(load_restorer(request, place), str(name))
