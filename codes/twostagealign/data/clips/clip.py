"""Clips: folders of consecutive ordinary pictures, and the window of frames around each of them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from twostagealign.data.frame_files import list_pictures, warn_about_numbering
from twostagealign.data.pictures import check_equal_sizes, read_picture
from twostagealign.runtime.errors import UserError

PADDINGS = ("replicate", "reflection", "new_info", "circle")


def frame_window(center: int, count: int, frames: int, padding: str = "new_info") -> list[int]:
    """Choose the frames of a clip that make the burst around one of them.

    Where the window leaves the clip, the missing frames are

    - "replicate": the first or the last frame of the clip again,
    - "reflection": the clip mirrored at that frame,
    - "new_info": the frames that follow the window on its other side, the outermost first, so that none appears twice,
    - "circle": the same frames in the order of the clip.

    Args:
        center: index of the reference frame, from 0.
        count: number of frames in the clip.
        frames: length N of the window; where it is even, it reaches one frame further back than ahead.
        padding: one of `PADDINGS`.

    Returns:
        N indices; the reference frame is entry N // 2.

    Raises:
        ValueError: if an argument is out of its range, or the clip is too short for this window and padding.

    Example:
        >>> frame_window(0, count=7, frames=5)
        [4, 3, 0, 1, 2]
    """
    if padding not in PADDINGS:
        raise ValueError(f"padding: found {padding!r}, expected one of {', '.join(PADDINGS)}")
    if frames < 1:
        raise ValueError(f"frames: found {frames}, expected at least 1")
    if not 0 <= center < count:
        raise ValueError(f"center: found {center}, expected 0 to {count - 1}, an index into {count} frames")
    back, ahead = frames // 2, frames - 1 - frames // 2
    needed = {"replicate": 1, "reflection": back + 1, "new_info": frames, "circle": frames}[padding]
    if count < needed:
        raise ValueError(
            f"count: found a clip of {count} frames, expected at least {needed} "
            f"for a window of {frames} with padding {padding!r}; 'replicate' works with any clip"
        )
    last = count - 1

    def inside(i: int) -> int:
        if 0 <= i <= last:
            return i
        if padding == "replicate":
            return 0 if i < 0 else last
        if padding == "reflection":
            return -i if i < 0 else 2 * last - i
        if padding == "new_info":
            return center + ahead - i if i < 0 else center - back - (i - last)
        return i + frames if i < 0 else i - frames

    return [inside(i) for i in range(center - back, center + ahead + 1)]


class Clip:
    """Consecutive pictures of a folder, in natural order, read when asked for.

    A last row or column that makes a side odd is cut off: a Bayer mosaic has even sides.

    Args:
        folder: the folder of pictures, all of one size.

    Attributes:
        paths: the picture files.
        height: of every frame in RGB pixels, even.
        width: of every frame in RGB pixels, even.

    Raises:
        UserError: if there is no such folder, no picture in it, a picture of another size than the first, one that is
            not a picture, or pictures with a side of less than two pixels; later, if a picture cannot be read.
    """

    def __init__(self, folder: str | Path) -> None:
        self.paths = list_pictures(folder)
        warn_about_numbering(self.paths)
        check_equal_sizes(self.paths)
        height, width = read_picture(self.paths[0]).shape[:2]
        if min(height, width) < 2:
            raise UserError(f"{self.paths[0]}: found {width}x{height} pixels, expected at least 2x2")
        self.height, self.width = height // 2 * 2, width // 2 * 2

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """Frame `index` as RGB, (3, height, width) uint8."""
        picture = read_picture(self.paths[index])
        return torch.from_numpy(picture[: self.height, : self.width]).permute(2, 0, 1).contiguous()

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Several frames as RGB, (N, 3, height, width) uint8.

        Args:
            indices: which, such as from `frame_window`.

        Returns:
            The frames in that order.

        Raises:
            UserError: if a picture cannot be read.
        """
        return torch.stack([self[index] for index in indices])
