"""Training bursts out of clips of video."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from twostagealign.data.clips.clip_list import read_clip_list
from twostagealign.data.clips.clip_source import open_clips
from twostagealign.data.sequence import frame_window
from twostagealign.data.training_set import fingerprint
from twostagealign.runtime.bounds import Count, Frames, PathOrText, Seed, Side
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import locate

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BurstChoice:
    """Everything that is random about one burst.

    Attributes:
        clip: name of the clip.
        frames: indices of its frames in the clip, the reference in the middle.
        top: first row of the crop in the frames.
        left: first column of the crop in the frames.
        quarter_turns: how many times the crop is turned by 90 degrees, counterclockwise.
        mirrored: whether it is then mirrored left to right.
    """

    clip: str
    frames: tuple[int, ...]
    top: int
    left: int
    quarter_turns: int = 0
    mirrored: bool = False


class VideoClips(Dataset[Tensor]):
    """Clean training bursts out of clips of video.

    With augmentation, burst `i` is a function of `seed` and `i` alone: a random clip, reference frame, interval,
    direction, crop, turn and reflection. Without it, as for validation, bursts take the clips in turn, with reference
    frames evenly spread over each clip, cropped in the middle.

    Args:
        source: a folder of clip folders, which may lie deeper, as in FOLDER/00001/0001/im1.png; or an LMDB of this
            project, of EDVR or of BasicSR. All frames have one size.
        frames: number of frames N of a burst, odd.
        size: height and width of a crop in RGB pixels, even; one number for a square.
        clips: which clips to use; by default all but `exclude`.
        exclude: which clips to leave out; by default `TEST_CLIPS`.
        clip_list: text file with the names of the clips to use, one a line; by default `CLIP_LIST`, if that file lies
            in the source or beside it. Clips that it does not name are not used.
        interval_list: intervals between the frames of a burst, to choose from; the first one without augmentation.
        random_reverse: let half of the bursts go backwards in time.
        border_mode: let the reference frame be near the ends of a clip as well, where the burst takes further frames of
            its other side instead of those that are missing (as in the test protocol).
        augment: choose at random, turn and mirror.
        seed: seed of all bursts.
        length: number of bursts; by default 10,000,000 with augmentation, one of each clip without.

    Attributes:
        source: the opened source.
        clips: names of the clips in use.

    Raises:
        ValueError: an argument is out of its range.
        UserError: `source` or `clip_list` cannot be read, a clip is missing, or frames or clips are too small.
    """

    TEST_CLIPS: ClassVar[tuple[str, ...]] = ()
    """Clips that results are reported on."""
    CLIP_LIST: ClassVar[str | None] = None
    """Name of the file that names the training clips."""
    CLIPS_FOLDER: ClassVar[str] = "."
    """Where the clips lie in the folder of the data set as it is distributed."""

    def __init__(
        self,
        source: PathOrText,
        frames: Frames = 5,
        size: Side | tuple[Side, Side] = 384,
        clips: list[str] | None = None,
        exclude: list[str] | None = None,
        clip_list: PathOrText | None = None,
        interval_list: tuple[Count, ...] = (1,),
        random_reverse: bool = False,
        border_mode: bool = False,
        augment: bool = True,
        seed: Seed = 0,
        length: Count | None = None,
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        for name, value, holds, expected in (
            ("frames", frames, frames >= 1 and frames % 2 == 1, "an odd number"),
            ("size", size, min(height, width) >= 2 and height % 2 == width % 2 == 0, "even numbers of at least 2"),
            ("clips", clips, clips is None or clips, "at least one"),
            ("exclude", exclude, clips is None or exclude is None, "none together with clips"),
            ("clip_list", clip_list, clips is None or clip_list is None, "none together with clips"),
            ("interval_list", interval_list, interval_list and min(interval_list) >= 1, "numbers of at least 1"),
            ("random_reverse", random_reverse, augment or not random_reverse, "false without augment"),
            ("seed", seed, seed >= 0, "0 or more"),
            ("length", length, length is None or length >= 1, "at least 1"),
        ):
            if not holds:
                raise ValueError(f"{type(self).__name__}: {name}: found {value}, expected {expected}")
        folder = locate(Path(source))
        list_file = self._find_list(folder, clip_list) if clips is None else None
        listed = read_clip_list(list_file) if list_file else None
        inner = folder / self.CLIPS_FOLDER
        self.source = open_clips(inner if inner.is_dir() else folder, listed)
        self.frames = frames
        self.size = (height, width)
        self.interval_list = interval_list
        self.random_reverse = random_reverse
        self.border_mode = border_mode
        self.augment = augment
        self.seed = seed
        self.clips = self._choose_clips(clips, self.TEST_CLIPS if exclude is None else exclude, listed, list_file)
        self.length = length or (10_000_000 if augment else len(self.clips))
        self._check_sizes()

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        """Burst `index`: clean sRGB frames, (N, 3, *size) uint8."""
        choice = self.choose(index)
        height, width = self._crop_size(choice.quarter_turns)
        rows, columns = slice(choice.top, choice.top + height), slice(choice.left, choice.left + width)
        frames = np.empty((self.frames, height, width, 3), np.uint8)
        for i, frame in enumerate(choice.frames):
            frames[i] = self.source.read(choice.clip, frame, rows, columns)
        turned = np.rot90(frames, choice.quarter_turns, axes=(1, 2))
        if choice.mirrored:
            turned = turned[:, :, ::-1]
        return torch.from_numpy(np.ascontiguousarray(turned.transpose(0, 3, 1, 2)))

    def choose(self, index: int) -> BurstChoice:
        """Choose clip, frames, crop and augmentation of burst `index`."""
        if not 0 <= index < self.length:
            raise IndexError(f"{type(self).__name__}: index: found {index}, expected 0 to {self.length - 1}")
        return self._choose_at_random(index) if self.augment else self._choose_in_turn(index)

    def clip(self, index: int) -> str:
        """Name of the clip that burst `index` is from."""
        return self.choose(index).clip

    @property
    def origin(self) -> Path:
        """Folder or LMDB of the clips."""
        return self.source.path.resolve()

    @property
    def contents(self) -> list[str]:
        """Names of the clips in use."""
        return self.clips

    def fingerprint(self, name: str) -> bytes:
        """Digest of a clip: that of its first frame."""
        return fingerprint(self.source.read(name, 0))

    def _choose_at_random(self, index: int) -> BurstChoice:
        rng = np.random.default_rng([self.seed, index])
        clip = self.clips[rng.integers(len(self.clips))]
        interval = self.interval_list[rng.integers(len(self.interval_list))]
        references = self._references(clip, interval)
        frames = self._window(clip, references[rng.integers(len(references))], interval)
        if self.random_reverse and rng.random() < 0.5:
            frames = frames[::-1]
        quarter_turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))
        height, width = self._crop_size(quarter_turns)
        top = int(rng.integers(self.source.height - height + 1))
        left = int(rng.integers(self.source.width - width + 1))
        return BurstChoice(clip, frames, top, left, quarter_turns, mirrored)

    def _choose_in_turn(self, index: int) -> BurstChoice:
        turn, place = divmod(index, len(self.clips))
        turns = -(-self.length // len(self.clips))
        clip, interval = self.clips[place], self.interval_list[0]
        references = self._references(clip, interval)
        reference = references[(2 * turn + 1) * len(references) // (2 * turns)]
        top, left = (self.source.height - self.size[0]) // 2, (self.source.width - self.size[1]) // 2
        return BurstChoice(clip, self._window(clip, reference, interval), top, left)

    def _crop_size(self, quarter_turns: int) -> tuple[int, int]:
        height, width = self.size
        return (width, height) if quarter_turns % 2 else (height, width)

    def _references(self, clip: str, interval: int) -> range:
        """Return the valid indices of reference frames."""
        reach = 0 if self.border_mode else self.frames // 2 * interval
        return range(reach, self.source.clips[clip] - reach)

    def _window(self, clip: str, reference: int, interval: int) -> tuple[int, ...]:
        """Choose the frames of a burst: a window on every `interval`-th frame of the clip."""
        within = range(reference % interval, self.source.clips[clip], interval)
        return tuple(within[i] for i in frame_window(reference // interval, len(within), self.frames, "new_info"))

    def _find_list(self, folder: Path, given: PathOrText | None) -> Path | None:
        """Find the file that names the clips to use."""
        if given is not None:
            return locate(Path(given))
        if self.CLIP_LIST is None:
            return None
        near = [place / self.CLIP_LIST for place in (folder, folder.parent)]
        found = next((path for path in near if path.is_file()), None)
        if found is None:
            logger.warning("%s: found no %s in it or beside it; all clips are used", folder, self.CLIP_LIST)
        return found

    def _choose_clips(
        self, clips: list[str] | None, exclude: Sequence[str], listed: Sequence[str] | None, list_file: Path | None
    ) -> list[str]:
        known = self.source.clips
        if listed is not None:
            clips = [name if name in known else name.replace("/", "_") for name in listed]  # EDVR's LMDBs have no "/"
            missing = [name for name, clip in zip(listed, clips, strict=True) if clip not in known]
            if missing:
                some = f"{len(missing)} of the clips in {list_file}, such as {missing[0]}"
                raise UserError(f"{self.source.path}: lacks {some}; remove them from the list")
            if rest := len(known) - len(clips):
                logger.info("%s: %d of %d clips not used, not in %s", self.source.path, rest, len(known), list_file)
        if clips is None or listed is not None:
            clips = [clip for clip in clips or known if clip not in exclude]
            if not clips:
                raise UserError(f"{self.source.path}: found no clip but {', '.join(exclude)}, which are excluded")
        for clip in clips:
            if clip not in known:
                names = sorted(known)
                raise UserError(f"{self.source.path}: found no clip {clip}, expected one of {names[0]} to {names[-1]}")
        return clips

    def _check_sizes(self) -> None:
        source, interval = self.source, max(self.interval_list)
        largest = sorted({self.size, self._crop_size(int(self.augment))})
        if any(height > source.height or width > source.width for height, width in largest):
            raise UserError(
                f"{source.path}: found frames of {source.width}x{source.height} pixels, "
                f"expected at least {' and '.join(f'{width}x{height}' for height, width in largest)}"
            )
        needed = self.frames * interval if self.border_mode else (self.frames - 1) * interval + 1
        for clip in self.clips:
            if source.clips[clip] < needed:
                raise UserError(
                    f"{source.path}: clip {clip}: found {source.clips[clip]} frames, expected at least {needed} "
                    f"for bursts of {self.frames} at interval {interval}"
                )
