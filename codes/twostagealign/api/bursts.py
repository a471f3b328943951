"""Bursts from files, from arrays, and from clean pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from twostagealign.api.arguments import check_levels, check_noise, kind, stack, whole
from twostagealign.api.camera_profile import CameraProfile
from twostagealign.data import (
    BUNDLED,
    PROTOCOL_NOISE,
    Burst,
    ClipInMemory,
    FrameSequence,
    NoiseLevel,
    RawFolder,
    frame_window,
    open_raw_files,
    read_picture,
)
from twostagealign.data import read_burst as read_window
from twostagealign.data.camera.mosaics import estimate_mosaic_noise, mosaics_in_memory
from twostagealign.data.camera.reference import Reference, choose_reference
from twostagealign.data.metadata import FrameMetadata
from twostagealign.data.stills.example import example_clip
from twostagealign.isp import CFA_ORDERS
from twostagealign.restoration.input import WINDOW, open_frames
from twostagealign.restoration.metrics_file import describe_input
from twostagealign.restoration.outputs import Rendering, default_tone
from twostagealign.restoration.reference import demosaic_reference, small_picture
from twostagealign.runtime.memory import give_back_memory

EXAMPLES = BUNDLED
"""Names of the photographs that `example` takes."""

_LEAST_SIDE = 2
_LEAST_PICTURE = 12  # the smallest even side that the window of SSIM fits into
_SEEDS = 2**31
_FRAMES_PER_SEED = 2**20


@dataclass(frozen=True, eq=False)
class RawBurst:
    """The raw frames that one picture is restored from, in memory, as they were stored.

    Attributes:
        source: all frames that the burst was taken from.
        window: index in the source of each frame of the burst; the reference frame is entry N // 2.
        frames: the frames, in the order of `window`.
    """

    source: FrameSequence
    window: tuple[int, ...]
    frames: Burst

    def __len__(self) -> int:
        return len(self.window)

    @property
    def reference(self) -> int:
        """Index in the source of the frame that is restored."""
        return self.window[len(self.window) // 2]

    @property
    def metadata(self) -> FrameMetadata:
        """What is known about the reference frame: camera, exposure, noise, and where each value comes from."""
        return self.source.metadata(self.reference)

    @property
    def noise(self) -> NoiseLevel:
        """Shot and read noise of the frames, given or estimated."""
        return self.source.metadata(self.reference).noise

    @property
    def truth(self) -> np.ndarray | None:
        """Clean picture of the reference frame, sRGB (height, width, 3) uint8; None for a real camera."""
        clean = self.frames.reference.clean
        return None if clean is None else clean.permute(1, 2, 0).numpy()

    def describe(self, index: int) -> dict[str, Any]:
        """Describe a frame of the source, as metrics.json does: what was read of it, and where each value comes from.

        Args:
            index: index of the frame in the source.
        """
        return describe_input(self.source.frames[index], self.source.metadata(index))

    def demosaicked(self) -> np.ndarray:
        """Demosaic the reference frame: linear camera RGB, (height, width, 3) float32, upright, as `Result.linear`."""
        return self.source.finish(demosaic_reference(self.frames), self.reference)

    def thumbnail(self, index: int, side: int = 160) -> np.ndarray:
        """Read a frame of the source, and make a small picture of it: sRGB, (height, width, 3) uint8, upright.

        Args:
            index: index of the frame in the source.
            side: length of the longer side, about, pixels.

        Raises:
            UserError: the frame cannot be read.
            ValueError: there is no such frame.
        """
        index = whole("index", index, 0, len(self.source.frames) - 1)
        metadata = self.source.metadata(index)
        rendering = Rendering(default_tone(self.frames), metadata.exposure.baseline)
        small, samples = small_picture(self.source.read(index), metadata.camera, side, rendering)
        # Cropping and turning is defined for samples: repeat pixels, then take every one of them once.
        picture = self.source.finish(small.repeat(samples, axis=0).repeat(samples, axis=1), index)
        return np.ascontiguousarray(picture[samples // 2 :: samples, samples // 2 :: samples])


def read_burst(
    source: str | Path | Sequence[str | Path], frames: int | None = None, reference: Reference | None = None
) -> RawBurst:
    """Read a burst of raw files, or of Bayer mosaics beside a camera.yml, or a burst of the HDR+ or SC_burst data set.

    Args:
        source: a folder, whose files are taken in the order of their capture times, or of their names where a time is
            missing; one file, which is restored alone; or a list of files in order, with camera.yml, if needed, in the
            folder of the first.
        frames: number of frames to restore from; None: 5, or all if there are fewer.
        reference: index of the frame to restore, "middle" or "sharpest"; None: the sharpest, or as an HDR+ burst says.

    Returns:
        The reference frame and the frames around it. Where they are exposed differently, all are brought to the
        exposure of the reference frame.

    Raises:
        UserError: a file cannot be used.
        ValueError: an argument is out of range.
    """
    if isinstance(reference, str) and reference not in ("middle", "sharpest"):
        raise ValueError(f"reference: found {reference!r}, expected middle, sharpest or the index of a frame")
    if isinstance(source, str | Path):
        sequence = open_frames(Path(source))
    elif isinstance(source, Sequence) and source and all(isinstance(path, str | Path) for path in source):
        sequence = open_raw_files([Path(path) for path in source])
    else:
        raise ValueError(f"source: found {kind(source)}, expected a folder, a file or a list of files")
    count = len(sequence.frames)
    length = min(WINDOW, count) if frames is None else whole("frames", frames, 1, count)
    if reference is not None and not isinstance(reference, str):
        reference = whole("reference", reference, 0, count - 1)
    if isinstance(sequence, RawFolder):
        sequence, reference = choose_reference(sequence, reference)
    return _take(sequence, length, reference if isinstance(reference, int) else None)


def burst_from_arrays(
    mosaics: np.ndarray | Tensor | Sequence[np.ndarray | Tensor],
    camera: CameraProfile,
    *,
    cfa: str = "RGGB",
    black_level: float | Sequence[float] = 0,
    white_level: float | None = None,
    noise: NoiseLevel | None = None,
    reference: int | None = None,
) -> RawBurst:
    """Make a burst from Bayer mosaics in memory. All of them are used.

    Args:
        mosaics: consecutive frames, (N, height, width): integers with levels, 0 to 65535, or floats in [0, 1]. Odd
            sides are allowed.
        camera: colours of the camera.
        cfa: colours of the upper left 2 x 2 cell: RGGB, BGGR, GRBG or GBRG.
        black_level: black level of integer mosaics; or four: of R, of G in red rows, of G in blue rows, of B.
        white_level: white level of integer mosaics.
        noise: shot and read noise on the [0, 1] scale; None: estimated from all frames, of many from nine.
        reference: index of the frame to restore; None: the middle one.

    Returns:
        The burst.

    Raises:
        ValueError: an argument is not as above, or the noise has to be estimated and cannot be.
    """
    array = stack("mosaics", mosaics)
    if array.ndim != 3 or not len(array) or min(array.shape[1:]) < _LEAST_SIDE:
        raise ValueError(f"mosaics: found shape {array.shape}, expected (N, height, width), at least 1 x 2 x 2")
    if not isinstance(camera, CameraProfile):
        raise ValueError(f"camera: found {kind(camera)}, expected a CameraProfile")
    if cfa not in CFA_ORDERS:
        raise ValueError(f"cfa: found {cfa!r}, expected one of {', '.join(CFA_ORDERS)}")
    levels = check_levels(array, black_level, white_level)
    index = len(array) // 2 if reference is None else whole("reference", reference, 0, len(array) - 1)
    array = array.astype(np.float32) if levels is None else array.astype(np.uint16)
    if noise is None:
        try:
            noise = estimate_mosaic_noise(array, cfa, levels)
        except ValueError as error:
            raise ValueError(f"noise: cannot be estimated, {error}; give a NoiseLevel") from None
    check_noise(noise)
    return _take(mosaics_in_memory(array, cfa, levels, camera.camera(), noise), len(array), index)


def simulate(
    pictures: np.ndarray | Tensor | Sequence[np.ndarray | Tensor | str | Path],
    noise: str | NoiseLevel = "high",
    seed: int = 0,
    reference: int | None = None,
    frames: int | None = None,
) -> RawBurst:
    """Make a noisy burst from clean pictures by the paper's test protocol; it keeps the truth.

    Args:
        pictures: consecutive frames, sRGB, (N, height, width, 3) uint8, or a list of such pictures or of picture
            files. Pictures of odd size lose their last row or column.
        noise: "high" or "low", the levels of the test protocol, or another level.
        seed: seed of the noise, 0 or more. 0 gives the noise of the test protocol for frames 1 to N of a clip.
        reference: index of the frame to restore; None: the middle one.
        frames: number of frames to restore from; None: all.

    Returns:
        The burst.

    Raises:
        UserError: a file cannot be read.
        ValueError: an argument is not as above.
    """
    level = PROTOCOL_NOISE.get(noise) if isinstance(noise, str) else noise
    if level is None:
        raise ValueError(f"noise: found {noise!r}, expected {', '.join(PROTOCOL_NOISE)} or a NoiseLevel")
    check_noise(level)
    seed = whole("seed", seed, 0, _SEEDS - 1)
    if isinstance(pictures, list | tuple):
        pictures = [read_picture(entry) if isinstance(entry, str | Path) else entry for entry in pictures]
    array = stack("pictures", pictures)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or not len(array):
        found = f"{array.dtype} of shape {array.shape}"
        raise ValueError(f"pictures: found {found}, expected uint8 of shape (N, height, width, 3)")
    height, width = (side // 2 * 2 for side in array.shape[1:3])
    if min(height, width) < _LEAST_PICTURE:
        raise ValueError(f"pictures: found {width}x{height} pixels, expected at least {_LEAST_PICTURE} on each side")
    tensor = torch.from_numpy(array[:, :height, :width]).permute(0, 3, 1, 2).contiguous()
    clip = ClipInMemory("simulated", tensor, level, first_number=1 + seed * _FRAMES_PER_SEED)
    length = len(array) if frames is None else whole("frames", frames, 1, len(array))
    return _take(clip, length, reference)


def example(
    name: str = "astronaut", noise: str = "high", frames: int | None = None, reference: int | None = None
) -> RawBurst:
    """Make a noisy burst of a photograph that comes with scikit-image, without any file; it keeps the truth.

    Args:
        name: one of `EXAMPLES`.
        noise: "high" or "low", the levels of the test protocol.
        frames: number of frames to restore from; None: all five.
        reference: index of the frame to restore; None: the middle one.

    Returns:
        The burst. Its frames move by 16 to 24 raw pixels from one to the next.

    Raises:
        ValueError: an argument is not as above.
    """
    if name not in EXAMPLES:
        raise ValueError(f"name: found {name!r}, expected one of {', '.join(EXAMPLES)}")
    if noise not in PROTOCOL_NOISE:
        raise ValueError(f"noise: found {noise!r}, expected one of {', '.join(PROTOCOL_NOISE)}")
    clip, _ = example_clip(name, PROTOCOL_NOISE[noise])
    count = len(clip.frames)
    return _take(clip, count if frames is None else whole("frames", frames, 1, count), reference)


def _take(sequence: FrameSequence, length: int, reference: int | None) -> RawBurst:
    count = len(sequence.frames)
    index = count // 2 if reference is None else whole("reference", reference, 0, count - 1)
    window = frame_window(index, count, length)
    if isinstance(sequence, RawFolder):
        sequence = sequence.unload_others(window)
    burst = RawBurst(sequence, tuple(window), read_window(sequence, window))
    give_back_memory()  # what looking at all frames has left
    return burst
