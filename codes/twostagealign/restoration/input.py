"""What is restored: frames from folders and files, and the bursts that they make."""

import logging
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from twostagealign.data import (
    PROTOCOL_NOISE,
    FrameSequence,
    RawFolder,
    frame_window,
    open_clip,
    open_raw_files,
    open_raw_folder,
)
from twostagealign.data.camera.raw_folder import in_capture_order
from twostagealign.data.camera.reference import Reference, choose_reference
from twostagealign.data.clips.sc_burst import SCBurstScene, is_scene
from twostagealign.data.frame_files import natural_order
from twostagealign.runtime.errors import UserError

WINDOW = 5
"""Frames that restore one picture unless the user says otherwise, as in the paper."""

logger = logging.getLogger(__name__)


def open_input(input: Path | Sequence[Path], simulate: str | None) -> FrameSequence:
    """Open a folder of frames, or files: pictures to degrade at the noise level `simulate`, or raw frames.

    Files are brought in the order of their capture times, if all have one, otherwise in natural order of their names.
    """
    if not isinstance(input, Path) and len(input) > 1:
        if simulate:
            raise UserError("--simulate: found a list of files, expected one folder of pictures")
        for path in input:
            if not path.is_file():
                raise UserError(f"{path}: not a file; give one folder, or the files of one burst")
        return in_capture_order(open_raw_files(natural_order(input)))
    path = input if isinstance(input, Path) else input[0]
    if path.is_file():
        logger.warning("%s: restored from this frame alone; give its folder to restore it from a burst", path)
    if simulate:
        return open_clip(path, PROTOCOL_NOISE[simulate])
    return open_frames(path)


def open_frames(path: Path) -> FrameSequence:
    """Open a burst of a camera: a scene of SC_burst, a folder of raw frames, or a single raw frame."""
    return SCBurstScene(path) if is_scene(path) else open_raw_folder(path)


def check_output(input: Path | Sequence[Path], output: Path) -> None:
    """Refuse to write results beside the frames; UserError."""
    paths = [input] if isinstance(input, Path) else input
    if output.resolve() in [(path.parent if path.is_file() else path).resolve() for path in paths]:
        raise UserError(f"{output}: found the input folder, expected another one for the results")


def choose_windows(
    sequence: FrameSequence, frames: int | None, reference: Reference | None, sliding: bool
) -> tuple[FrameSequence, list[list[int]]]:
    """Choose the frames of every burst of a sequence.

    Args:
        sequence: the frames.
        frames: length of the window around a reference frame; None: 5, or all frames where there are fewer.
        reference: index of the frame to restore, or how it is chosen; None: the sharpest frame of a camera, otherwise
            the middle one.
        sliding: restore every frame.

    Returns:
        The sequence, with the exposures of its frames, and the indices of the frames of every burst.

    Raises:
        UserError: an option does not fit the sequence, or a frame cannot be used.
    """
    count = len(sequence.frames)
    if frames is not None and not 1 <= frames <= count:
        raise UserError(f"--frames: found {frames}, expected 1 to {count}, the number of frames in {sequence.name}")
    if isinstance(reference, int) and reference not in sequence.references:
        known = sequence.references
        expected = f"{known[0]} to {known[-1]}" if len(known) > 1 else f"{known[0]}"
        raise UserError(f"--reference: found {reference}, expected {expected}, the frames in {sequence.name}")
    index = reference if isinstance(reference, int) else sequence.references[len(sequence.references) // 2]
    if isinstance(sequence, RawFolder):
        sequence, index = choose_reference(sequence, "middle" if sliding else reference)
        if not sliding:
            tqdm.write(f"reference frame: {sequence.frames[index]}, number {index + 1} of {count}")
    elif reference == "sharpest":
        raise UserError(f"--reference sharpest: {sequence.name} is not a raw folder; give the number of a frame")
    references = sequence.references if sliding else [index]
    windows = [frame_window(index, count, frames or min(WINDOW, count)) for index in references]
    if isinstance(sequence, RawFolder):
        sequence = sequence.unload_others(set().union(*windows))
    return sequence, windows
