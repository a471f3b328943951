"""Bursts out of still pictures, made on the device for a whole batch at once."""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from twostagealign.data.stills.motion import footprint, view_matrices
from twostagealign.data.stills.scenes import BurstPlan, Foreground, MovingView

FINENESS = 32
"""Number of places distinguished between two pixels, as in OpenCV."""


class StillsOnDevice:
    """Still pictures in the memory of a device, and the bursts of a camera that moves over them.

    The frames equal those of `StillsInMotion` except for rounding: same downscaling by areas, same bicubic
    interpolation at the same places. A burst does not depend on the others of its batch, to the bit.

    Args:
        pictures: RGB, (height, width, 3) uint8 each.
        size: height and width of a frame in RGB pixels.
        device: device that pictures and bursts are kept on.
    """

    def __init__(self, pictures: Iterable[np.ndarray], size: tuple[int, int], device: torch.device) -> None:
        arrays = [torch.from_numpy(picture) for picture in pictures]
        self.sides = [tuple(array.shape[:2]) for array in arrays]
        self.starts = [0, *np.cumsum([math.prod(sides) for sides in self.sides]).tolist()]
        self.pixels = torch.cat([array.reshape(-1, 3).to(device) for array in arrays])
        self.size = size
        self.device = device

    def __call__(self, plans: Sequence[BurstPlan]) -> Tensor:
        """Make bursts of plans with one number of frames: clean sRGB, (B, N, 3, *size) uint8."""
        scenes, sizes = [plan.scene for plan in plans], [self.size] * len(plans)
        views = self._interpolate(*self._windows(scenes, sizes))
        covered = {index: plan.foreground for index, plan in enumerate(plans) if plan.foreground}
        if covered:
            self._add_foregrounds(views, covered)
        views = views.round_().clamp_(0, 255)
        if any(plan.colours is not None for plan in plans):
            colours = [np.eye(3) if plan.colours is None else plan.colours for plan in plans]
            m = self._put(np.stack(colours))[:, None, ..., None, None]
            # Not a matrix product, whose rounding may depend on the batch.
            red, green, blue = (m[:, :, :, channel] * views[:, :, channel, None] for channel in range(3))
            views = (red + green + blue).round_().clamp_(0, 255)
        return views.to(torch.uint8)

    def _add_foregrounds(self, views: Tensor, covered: dict[int, Foreground]) -> None:
        """Lay foregrounds over the frames of the bursts with these indices, in place."""
        foregrounds = list(covered.values())
        scenes = [foreground.scene for foreground in foregrounds]
        sizes = [(len(foreground.opacity), foreground.opacity.shape[1]) for foreground in foregrounds]
        corners = np.stack([foreground.corners for foreground in foregrounds])
        windows, matrices = self._windows(scenes, sizes)
        textures = self._interpolate(windows, _moved(matrices, corners))
        blobs = torch.zeros(len(covered), 1, *[_power_of_two(max(map(max, sizes)))] * 2)
        for blob, foreground in zip(blobs, foregrounds, strict=True):
            height, width = foreground.opacity.shape
            blob[0, :height, :width] = torch.from_numpy(foreground.opacity)
        own = [view_matrices(scene.motion, (0, 0), size) for scene, size in zip(scenes, sizes, strict=True)]
        opacities = self._interpolate(blobs.to(self.device), _moved(np.stack(own), corners)).clamp_(0, 1)
        index = torch.tensor(list(covered), device=self.device)
        views[index] = torch.lerp(views[index], textures, opacities)

    def _windows(self, scenes: Sequence[MovingView], sizes: Sequence[tuple[int, int]]) -> tuple[Tensor, np.ndarray]:
        """Windows of the downscaled and turned pictures that scenes, with frames of these sizes, see; and maps to them.

        The windows are (B, 3, side, side), in levels from 0 to 255, the side a power of 2, 0 where no frame looks. The
        maps from the frames are (B, N, 2, 3).
        """
        described = [self._describe(scene, size) for scene, size in zip(scenes, sizes, strict=True)]
        base, steps, begin, length, shrunk, first, extent, matrices = map(np.array, zip(*described, strict=True))
        height, width = extent.max(axis=0)
        windows = torch.zeros(len(scenes), 3, *[_power_of_two(max(height, width))] * 2, device=self.device)
        window = windows[..., :height, :width]
        (rows, row_weights), (columns, column_weights) = (
            _areas(first[:, axis], begin[:, axis], length[:, axis], shrunk[:, axis], count)
            for axis, count in enumerate((height, width))
        )
        row_step, column_step = steps.T[..., None, None]
        row_places = self._put(base[:, None, None] + row_step * rows)
        column_places = self._put(column_step * columns)
        row_shares, column_shares = self._put(row_weights), self._put(column_weights)
        for y in range(row_places.shape[2]):
            for x in range(column_places.shape[2]):
                places = row_places[:, :, None, y] + column_places[:, None, :, x]
                weights = row_shares[:, :, None, y] * column_shares[:, None, :, x]
                window += (self.pixels[places] * weights[..., None]).permute(0, 3, 1, 2)
        return windows, matrices

    def _describe(self, scene: MovingView, size: tuple[int, int]) -> tuple[object, ...]:
        """Compute where a scene's frames look in memory.

        Returns:
            Place of the first pixel of the turned picture among all pixels; and, each for rows and columns: the way
            from one to the next; begin and length of the part that is used; its length once downscaled; where in it
            the window begins, and the window's length. At last the maps from the frames to the window, (N, 2, 3).
        """
        height, width = self.sides[scene.picture]
        last = height * width - 1
        corners = scene.turn(self.starts[scene.picture] + np.array([[0, width - 1], [last - width + 1, last]]))
        sides = (width, height) if scene.quarter_turns % 2 else (height, width)
        steps = (corners[[1, 0], [0, 1]] - corners[0, 0]) // np.maximum(np.array(sides) - 1, 1)
        low, high = footprint(scene.motion, size)
        spans = scene.spans(sides, size, (low, high))
        lengths = [part.stop - part.start for part, _ in spans]
        return (
            corners[0, 0],
            steps,
            [part.start for part, _ in spans],
            lengths,
            [scene.downscaled(length) for length in lengths],
            [start for _, start in spans] + low,
            high - low,
            view_matrices(scene.motion, (-int(low[0]), -int(low[1])), size),
        )

    def _interpolate(self, windows: Tensor, matrices: np.ndarray) -> Tensor:
        """Interpolate windows (B, C, side, side) bicubically, by maps (B, N, 2, 3) from frames: (B, N, C, *size)."""
        side = windows.shape[-1]
        y = torch.arange(self.size[0], device=self.device, dtype=torch.float32)[:, None]
        x = torch.arange(self.size[1], device=self.device, dtype=torch.float32)
        m = self._put(matrices)[..., None, None]
        places = m[:, :, :, 0] * x + m[:, :, :, 1] * y + m[:, :, :, 2]  # (B, N, 2, *size)
        # These fractions are exact in float32, and so is the way to [-1, 1] and back with a side that is a power of 2:
        # no rounding depends on the side, which is common to a batch.
        places = places.mul_(FINENESS).round_().div_(FINENESS)
        grid = ((2 * places + 1) / side - 1).movedim(2, -1)
        views = F.grid_sample(windows, grid.flatten(1, 2), mode="bicubic", align_corners=False)
        return views.unflatten(2, (matrices.shape[1], self.size[0])).transpose(1, 2)

    def _put(self, values: np.ndarray) -> Tensor:
        """Copy to the device; fractions as float32."""
        tensor = torch.from_numpy(values)
        return tensor.to(self.device, torch.float32 if tensor.is_floating_point() else None)


def _moved(matrices: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """The maps (B, N, 2, 3) from frames in which pixel `corners` (B, N, 2) [y, x] is what was the first pixel."""
    offset = matrices[..., 2] - np.einsum("bnij,bnj->bni", matrices[..., :2], corners[..., ::-1])
    return np.concatenate([matrices[..., :2], offset[..., None]], axis=-1)


def _areas(
    first: np.ndarray, begin: np.ndarray, length: np.ndarray, shrunk: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Compute which pixels each downscaled pixel is the mean of, along one axis of each burst.

    Args:
        first: place of the first pixel that is wanted in the downscaled part of the picture; beyond the part lies its
            mirror image. (B,), as the next three.
        begin: first pixel of the part in the picture.
        length: length of the part.
        shrunk: length of the part after downscaling.
        count: number of pixels that are wanted.

    Returns:
        Places in the picture and weights, both (B, count, K).
    """
    place = first[:, None] + np.arange(count)
    period = np.maximum(2 * shrunk - 2, 1)[:, None]
    place = np.minimum(place % period, period - place % period)
    lower, upper = (edge * length[:, None] / shrunk[:, None] for edge in (place, place + 1))
    widest = (length / shrunk).max()
    taps = np.floor(lower)[..., None].astype(int) + np.arange(1 if widest == 1 else math.ceil(widest) + 1)
    covered = np.minimum(taps + 1, upper[..., None]) - np.maximum(taps, lower[..., None])
    weights = covered.clip(0) / (upper - lower)[..., None]
    return begin[:, None, None] + np.minimum(taps, length[:, None, None] - 1), weights


def _power_of_two(least: int) -> int:
    return 1 << (int(least) - 1).bit_length()
