"""Where bursts come from: uploaded raw files, uploaded pictures that are given noise, or an example."""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from natsort import natsorted

import twostagealign as tsa
from twostagealign.app.worker import Job

CAMERA_FILE = "camera.yml"
MOST_FRAMES = 64
"""Largest number of files that are taken at a time."""
MOST_BYTES = 4 * 2**30
"""Largest size of all files together."""
THUMBNAIL = 160


Reference = int | Literal["sharpest", "middle"]


@dataclass(frozen=True)
class Source:
    """What bursts are read from.

    Attributes:
        names: names of the frames, as the user knows them.
        thumbnails: a small picture of each frame, (height, width, 3) uint8.
        read: reads a burst, from a number of frames, the reference frame or how it is chosen, and the noise that is
            simulated.
        input: argument of --input on the command line.
        simulated: whether noise is simulated.
        left_out: files that are not used: name and reason.
        named: replaces paths in a message by the names that files came with.
        preparation: command line that makes the input, with a line break; empty if it is there.
    """

    names: Sequence[str]
    thumbnails: Sequence[np.ndarray]
    read: Callable[[int, Reference, str], tsa.RawBurst]
    input: str
    simulated: bool
    left_out: Sequence[tuple[str, str]] = ()
    named: Callable[[str], str] = str
    preparation: str = ""


def open_example(name: str, noise: str) -> Source:
    """Open an example, one of `twostagealign.EXAMPLES`."""
    burst = tsa.example(name, noise)
    return Source(
        names=[f"frame {index + 1}" for index in range(len(burst))],
        thumbnails=[burst.thumbnail(index, THUMBNAIL) for index in range(len(burst))],
        read=lambda frames, reference, noise: tsa.example(name, noise, frames, _index(reference)),
        input=name,
        simulated=True,
        preparation=f"twostagealign example {name} --output {name}\n",
    )


def open_uploads(uploads: "Uploads", noise: str, job: Job) -> Source:
    """Open uploaded files. Those that cannot be used are left out.

    Args:
        uploads: the files.
        noise: noise that pictures are given; raw files and Bayer mosaics have their own.
        job: told what is being done.

    Raises:
        UserError: no file can be used; its text is that of the first problem.
    """

    def look(path: Path) -> tuple[np.ndarray, tuple[int, int]]:
        frame = tsa.read_burst(path) if uploads.raw else tsa.simulate([path], noise)
        return frame.thumbnail(0, THUMBNAIL), frame.source.size

    def read(frames: int, reference: Reference, noise: str) -> tsa.RawBurst:
        if uploads.raw:
            return tsa.read_burst(uploads.folder, frames, reference)
        return tsa.simulate(list(uploads.names), noise, frames=frames, reference=_index(reference))

    thumbnails, sizes, problems = {}, {}, []
    paths = list(uploads.names)
    for number, path in enumerate(paths, start=1):
        job.step(f"reading file {number} of {len(paths)}")
        try:
            thumbnails[path], sizes[path] = look(path)
        except (tsa.UserError, ValueError) as error:
            text = str(error) if isinstance(error, tsa.UserError) else f"{path}: {error}"
            problems.append(uploads.named(text))
            uploads.leave_out(path, problems[-1])
    if not sizes:
        raise tsa.UserError(problems[0] if problems else "no raw file and no picture among these files")
    usual, _ = Counter(sizes.values()).most_common(1)[0]
    for path, size in sizes.items():
        if size != usual:
            found, expected = (f"{2 * width}x{2 * height}" for height, width in (size, usual))
            uploads.leave_out(path, f"found {found} samples, expected {expected} as in the other files")
    kept = {path.stem: path for path in uploads.names}
    if uploads.raw:  # the program may put the files in another order
        kept = {stem: kept[stem] for stem in tsa.read_burst(uploads.folder, 1, 0).source.frames}
    names = [uploads.names[path] for path in kept.values()]
    return Source(
        names=names,
        thumbnails=[thumbnails[path] for path in kept.values()],
        read=read,
        input=shlex.join(names) if uploads.raw else "FOLDER_OF_THE_PICTURES",
        simulated=not uploads.raw,
        left_out=uploads.left_out,
        named=uploads.named,
    )


def _index(reference: Reference) -> int | None:
    """Index of the reference frame; None: the middle one."""
    return reference if isinstance(reference, int) else None


class Uploads:
    """Files that a session was given. They are kept under names of the program's own.

    Attributes:
        folder: folder of the session.
        raw: whether they are raw files, or Bayer mosaics with a camera.yml; otherwise, pictures.
        names: path of each file in the folder, and the name that it came with.
        left_out: files that are not used: name and reason.

    Args:
        folder: folder of the session, which exists and is empty.
        files: the files, which are moved to the folder.

    Raises:
        UserError: there are too many, or they are too large.
    """

    def __init__(self, folder: Path, files: Sequence[Path]) -> None:
        if len(files) > MOST_FRAMES + 1:
            raise tsa.UserError(f"{len(files)} files; drop at most {MOST_FRAMES} at a time")
        if sum(path.stat().st_size for path in files) > MOST_BYTES:
            raise tsa.UserError(f"more than {MOST_BYTES >> 30} GiB; drop fewer files at a time")
        suffixes = {path.suffix.lower() for path in files}
        kinds = tsa.RAW_SUFFIXES if suffixes & set(tsa.RAW_SUFFIXES) else tsa.PICTURE_SUFFIXES
        self.folder = folder
        self.names: dict[Path, str] = {}
        self.left_out: list[tuple[str, str]] = []
        described = False
        for number, path in enumerate(natsorted(files, key=lambda path: path.name)):
            suffix = path.suffix.lower()
            if path.name.lower() == CAMERA_FILE:
                path.replace(folder / CAMERA_FILE)
                described = True
            elif suffix in kinds:
                self.names[path.replace(folder / f"{number:04d}{suffix}")] = path.name
            else:
                is_picture = suffix in tsa.PICTURE_SUFFIXES
                self.left_out.append((path.name, "a picture beside raw files" if is_picture else "no raw file"))
                path.unlink()
        self.raw = described or kinds is tsa.RAW_SUFFIXES

    def leave_out(self, path: Path, reason: str) -> None:
        """Delete a file that cannot be used, and note why."""
        self.left_out.append((self.names.pop(path), reason))
        path.unlink()

    def named(self, text: str) -> str:
        """Replace paths in a message by the names that the files came with."""
        for path, name in self.names.items():
            text = text.replace(str(path), name).replace(path.name, name)
        return text.replace(f"{self.folder}/", "")
