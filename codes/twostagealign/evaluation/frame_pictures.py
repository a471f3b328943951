"""Pictures and matched shifts of a restored frame."""

from pathlib import Path

from torch import Tensor

from twostagealign.data import write_picture
from twostagealign.evaluation.results import Pictures, Shifts, write_record
from twostagealign.restoration.quality import to_uint8

RESIDUAL_GAIN = 4
"""Amplification of the residual, so that it is visible."""


def write_frame_pictures(
    stem: Path, root: Path, noisy: Tensor, restored: Tensor, truth: Tensor | None, shifts: Shifts
) -> Pictures:
    """Write the pictures and the matched shifts of a frame.

    Args:
        stem: common start of the files' paths, to which suffixes such as `_noisy.png` are added; its folder exists.
        root: folder that the returned names are relative to.
        noisy: developed reference frame, (3, 2H, 2W) in [0, 1].
        restored: developed result, (3, 2H, 2W) in [0, 1].
        truth: developed ground truth, (3, 2H, 2W) in [0, 1]; None if there is none.
        shifts: shifts of the tiles.

    Returns:
        The names of the files.

    Raises:
        UserError: a file cannot be written.
    """
    pixels = {"noisy": to_uint8(noisy), "restored": to_uint8(restored)}
    if truth is not None:
        residual = (0.5 + RESIDUAL_GAIN * (restored - truth)).clamp_(0, 1)
        pixels["truth"] = to_uint8(truth)
        pixels["residual"] = residual.mul_(255).round_().byte().permute(1, 2, 0).numpy()
    names: dict[str, str] = {}
    for kind, values in pixels.items():
        path = stem.with_name(f"{stem.name}_{kind}.png")
        write_picture(path, values)
        names[kind] = path.relative_to(root).as_posix()
    path = stem.with_name(f"{stem.name}_shifts.json")
    write_record(path, shifts)
    return Pictures(
        noisy=names["noisy"],
        restored=names["restored"],
        truth=names.get("truth"),
        residual=names.get("residual"),
        shifts=path.relative_to(root).as_posix(),
    )
