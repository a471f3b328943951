"""What one tab of the browser has open: a burst, how it is restored and shown, and the result."""

import io
import re
import secrets
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

import twostagealign as tsa
from twostagealign.app.restorers import Restorers
from twostagealign.app.sources import Source, Uploads, open_example, open_uploads
from twostagealign.app.worker import Job

KINDS = {"png": 16, "tif": 16, "dng": None}
"""Suffixes of the files that a result is saved as, and bits of each sample; None: the format's own."""


WELCOME = "Drop the files of a burst, or try an example."
"""What the page says while no burst is open."""


@dataclass(frozen=True)
class Choice:
    """How a burst is restored.

    Attributes:
        checkpoint: name or file of the checkpoint.
        frames: number of frames.
        reference: index of the frame to restore, or how it is chosen; of pictures and examples it is the middle one.
        by_protocol: whether to use the tiles of the paper's test protocol, instead of the best ones.
        noise: noise that examples and pictures are given, "high" or "low".
    """

    checkpoint: str = "tiny"
    frames: int = 5
    reference: int | Literal["sharpest", "middle"] = "sharpest"
    by_protocol: bool = False
    noise: str = "high"

    @property
    def tiling(self) -> tsa.Tiling:
        """Sizes of the tiles."""
        return tsa.Tiling() if self.by_protocol else tsa.FAST


class Session:
    """A tab of the browser.

    Attributes:
        key: name of the session in addresses; it cannot be guessed.
        choice: how the burst is going to be restored.
        look: how pictures are shown and saved.
        job: the work that was asked for last.
        source: where the burst comes from; None until there is one.
        burst: what is restored; None until there is one.
        result: the restored picture; None until there is one.
        made_by: how it was restored.
        notes: warnings about the burst, one line each.
        closed: whether the tab was closed.

    Args:
        folder: folder in which the session makes one of its own for its files.
    """

    def __init__(self, folder: Path) -> None:
        self.key = secrets.token_urlsafe(16)
        self.choice = Choice()
        self.look = tsa.Look()
        self.job: Job | None = None
        self.source: Source | None = None
        self.burst: tsa.RawBurst | None = None
        self.comparison: tsa.Comparison | None = None
        self.result: tsa.Result | None = None
        self.notes: list[str] = []
        self.made_by = self.choice
        self._loaded = self._opened = self._version = 0
        self._restoring = False
        self._folder = folder / self.key
        self.closed = False

    # Jobs, which the worker does

    def begin(self, job: Job) -> None:
        """Note the work that is asked for; what was asked for before it stops."""
        if self.job:
            self.job.stop()
        self.job = job

    def open_uploads(self, files: Sequence[Path], job: Job) -> None:
        """Open uploaded files, which are moved away."""
        self._empty()
        self._open(open_uploads(Uploads(self._folder, files), self.choice.noise, job), job)

    def open_example(self, name: str, job: Job) -> None:
        """Open an example."""
        self._empty()
        job.step("making the example")
        self._open(open_example(name, self.choice.noise), job)

    def read(self, job: Job) -> None:
        """Read the burst that `choice` asks for."""
        if not self.source:
            job.message = WELCOME
            return
        job.step("reading the burst")
        job.notes.clear()
        frames = min(self.choice.frames, len(self.source.names))
        burst = self.source.read(frames, self.choice.reference, self.choice.noise)
        job.step("demosaicking the reference frame")
        self.comparison, self.burst, self.result = tsa.Comparison(burst), burst, None
        self.notes = [self.source.named(note) for note in dict.fromkeys((*burst.metadata.warnings, *job.notes))]
        self._opened += 1
        job.message = "Ready to restore."

    def restore(self, restorers: Restorers, job: Job) -> None:
        """Restore the burst, and show the picture as it grows."""
        assert self.burst
        assert self.comparison
        job.step(f"loading {self.choice.checkpoint}")
        restorer, comparison, choice = restorers.load(self.choice.checkpoint), self.comparison, self.choice
        start = time.monotonic()
        self.result = None
        self._show(comparison, None)
        self._restoring = True
        try:
            result = restorer.restore(self.burst, choice.tiling, job.progress, partial(self._show, comparison))
        except BaseException:
            self._show(comparison, None)
            raise
        finally:
            self._restoring = False
        self.result, self.made_by = result, choice
        self._show(comparison, result.linear)
        job.message = f"Restored in {time.monotonic() - start:.0f} s."

    def _open(self, source: Source, job: Job) -> None:
        self.source = source
        self._loaded += 1
        if isinstance(self.choice.reference, int):
            self.choice = replace(self.choice, reference="sharpest")
        self.read(job)

    def _show(self, comparison: tsa.Comparison, linear: np.ndarray | None) -> None:
        comparison.show(linear)
        self._version += 1

    def _empty(self) -> None:
        """Forget the burst, and delete its files."""
        self.source = self.burst = self.comparison = self.result = None
        shutil.rmtree(self._folder, ignore_errors=True)
        if not self.closed:
            self._folder.mkdir(mode=0o700, parents=True)

    def close(self) -> None:
        """Stop the work and delete the files. Nothing can be done with the session afterwards."""
        self.closed = True
        if self.job:
            self.job.stop()
        self._empty()

    # What the page shows

    def view(self) -> dict[str, Any]:
        """Describe the picture for the viewer: what viewer.js calls `picture`; empty if there is none."""
        if not (self.comparison and self.source):
            return {}
        height, width = self.comparison.size
        look = f"b={self.look.brightness}&t={int(self.look.tone is None)}"
        restored = self.result is not None or self._restoring
        alt = f"Frame {self.name(self.reference)} " + (
            "before and after restoration" if restored else "as it was taken"
        )
        return {
            "key": self.key,
            "width": width,
            "height": height,
            "opened": self._opened,
            "version": self._version,
            "look": f"s={self.look.strength:g}&{look}",
            "tone": look,
            "restored": restored,
            "matches": [self.name(index) for index in self.result.window] if self.result else [],
            "alt": alt,
        }

    def frames(self) -> dict[str, Any]:
        """Describe the frames for the list of thumbnails: what frames.js calls `frames`; empty if there are none."""
        if not (self.source and self.burst):
            return {}
        return {
            "key": self.key,
            "loaded": self._loaded,
            "names": list(self.source.names),
            "used": list(self.burst.window),
            "reference": self.reference,
        }

    @property
    def reference(self) -> int:
        """Index of the reference frame of the burst."""
        assert self.burst
        return self.burst.reference

    # What the page fetches

    def tile(self, side: Literal["before", "after"], level: int, row: int, column: int, look: tsa.Look) -> bytes:
        """Render a tile of the picture as PNG; ValueError if there is none."""
        if not self.comparison:
            raise ValueError("no picture is open")
        return _png(self.comparison.tile(side, level, row, column, look))

    def thumbnail(self, index: int) -> bytes:
        """Return the thumbnail of a frame as PNG; ValueError if there is none."""
        if not (self.source and 0 <= index < len(self.source.thumbnails)):
            raise ValueError("no such frame")
        return _png(self.source.thumbnails[index])

    def matches(self) -> list[Any]:
        """Return where patches were found, as `twostagealign.Comparison.matches` does."""
        if not (self.comparison and self.result):
            raise ValueError("no result is there")
        return self.comparison.matches(self.result, self.made_by.tiling).round(1).tolist()

    def save(self, kind: str) -> Path:
        """Write the result to a file in the session's folder.

        Args:
            kind: one of `KINDS`.

        Returns:
            The file. Its name is that of the reference frame, without characters that file systems do not allow.

        Raises:
            ValueError: there is no result, or no such kind.
            UserError: the file cannot be written.
        """
        result, burst = self.result, self.burst
        if not (result and burst and kind in KINDS):
            raise ValueError("no result is there")
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(self.name(self.reference)).stem)[:80]
        path = self._folder / f"{stem or 'frame'}_restored.{kind}"
        look = self.look
        if look.strength < 1:
            result = result.blended(burst.demosaicked(), look.strength)
        result.save(path, look.brightness, look.tone, KINDS[kind])
        return path

    def name(self, index: int) -> str:
        """Return the name of a frame, as the user knows it."""
        assert self.source
        return self.source.names[index]


def _png(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=1)
    return file.getvalue()
