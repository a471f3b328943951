"""Regrouping REDS: the 30 validation clips become training clips 240 to 269."""

import os
import shutil
from pathlib import Path
from typing import Literal

from twostagealign.data.clips.clip_folders import ClipFolders
from twostagealign.runtime.errors import UserError

REDS_TRAINING_CLIPS = 240


def regroup(training: str | Path, validation: str | Path, mode: Literal["link", "copy"] = "link") -> list[Path]:
    """Add the validation clips of REDS to its training clips: 000 as 240, 001 as 241 and so on.

    A clip that is there already in this way is left as it is; an interrupted run can be repeated.

    Args:
        training: folder of the training clips (train_sharp).
        validation: folder of the validation clips (val_sharp).
        mode: "link" for relative symbolic links, "copy" for copies.

    Returns:
        The added clips, those of earlier runs included.

    Raises:
        UserError: a folder or clip cannot be read, a name is not a clip number, another clip is in the way, or the
            folder cannot be written.
    """
    training, clips = Path(training), ClipFolders(validation)
    if not training.is_dir():
        raise UserError(f"{training}: no such folder, expected one of clip folders")
    for clip in clips.clips:
        if not (clip.isascii() and clip.isdigit() and len(clip) == 3):
            raise UserError(f"{clips.path / clip}: found no clip number as its name, expected one such as 000")
    pairs = [(clips.path / clip, training / f"{int(clip) + REDS_TRAINING_CLIPS:03d}") for clip in clips.clips]
    for old, new in pairs:
        if os.path.lexists(new) and not _same_files(old, new):
            raise UserError(f"{new}: found another clip there, expected none or that of {old}")
    try:
        for old, new in pairs:
            if not os.path.lexists(new):
                _place(old, new, mode)
    except OSError as error:
        raise UserError(f"{error.filename or training}: cannot be written ({error.strerror or error})") from error
    return [new for _, new in pairs]


def _place(old: Path, new: Path, mode: Literal["link", "copy"]) -> None:
    if mode == "link":
        new.symlink_to(os.path.relpath(old.resolve(), new.parent.resolve()), target_is_directory=True)
        return
    temporary = new.with_name(f".{new.name}.part")  # hidden: no reader takes half a clip for a clip
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(old, temporary)
    temporary.replace(new)


def _same_files(old: Path, new: Path) -> bool:
    def sizes(folder: Path) -> dict[str, int]:
        return {file.name: file.stat().st_size for file in folder.iterdir()}

    return new.is_dir() and sizes(old) == sizes(new)
