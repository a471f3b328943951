"""Bursts out of still pictures: a hand-held walk over a picture, with a moving foreground at times."""

import hashlib
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from twostagealign.data.frame_files import list_pictures
from twostagealign.data.pictures import BUNDLED, PictureCache, bundled_path, read_picture
from twostagealign.data.stills.motion import RGB_PER_RAW, footprint, hand_held_motion, look, to_tensor
from twostagealign.data.stills.on_device import StillsOnDevice
from twostagealign.data.stills.procedural import COUNT, procedural_picture
from twostagealign.data.stills.scenes import BurstPlan, Foreground, MovingView, random_blob, random_colours
from twostagealign.data.training_set import fingerprint
from twostagealign.runtime.bounds import Count, Frames, Megabytes, PathOrText, Probability, Scale, Seed, Shift, Side
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import locate

PROCEDURAL = "procedural"
"""Source of drawn pictures."""


class StillsInMotion(Dataset[Tensor]):
    """Clean training bursts out of still pictures.

    A burst looks at a downscaled, turned and mirrored picture from a hand-held camera; in some bursts a piece of
    another picture moves across it on a walk of its own. Burst `i` is a function of `seed` and `i` alone: order, worker
    and process do not matter.

    Args:
        source: a folder of pictures, "skimage" for the photographs that come with scikit-image, or "procedural" for
            pictures that are drawn; see `procedural_picture`.
        frames: number of frames N of a burst.
        size: height and width of a frame in RGB pixels, even; one number for a square.
        max_shift: largest translation from a frame to the next, in raw pixels (2 RGB pixels each). The fastest step of
            each burst is drawn from 0 to this, which covers small motion too.
        max_rotation: largest turn from a frame to the next, in degrees.
        max_zoom: largest relative change of magnification from a frame to the next.
        foreground_probability: share of the bursts with a moving foreground.
        rest_probability: share of the bursts whose camera does not move, as on a tripod; a foreground still does.
        scale_range: smallest and largest factor by which a picture is downscaled before use, within (0, 1].
            Where it then is smaller than a frame it is continued by its mirror image.
        augment: turn the picture by a multiple of 90 degrees and mirror it, at random.
        recolour_probability: share of the bursts whose colour channels are permuted and whose saturation is scaled by
            0.5 to 2. Few photographs hold strong reds and purples; this makes all colours equally frequent.
        seed: seed of all bursts.
        length: number of bursts.
        cache_mb: how many MiB of decoded pictures each worker keeps at most.
        on_device: in training, keep all pictures decoded in the memory of the device and make the bursts of a batch
            there; see `StillsOnDevice`. Single bursts are made on the CPU.
        include: names of the pictures to use, without their suffixes; None: all.
        exclude: names of pictures to leave out, without their suffixes; names that `source` does not have are ignored.

    Raises:
        ValueError: if an argument is out of its range.
        UserError: if `source` is no folder of pictures, lacks one of `include`, or nothing of it is left;
            later, if a picture cannot be read.
    """

    def __init__(
        self,
        source: PathOrText,
        frames: Frames = 5,
        size: Side | tuple[Side, Side] = 320,
        max_shift: Shift = 24.0,
        max_rotation: float = 0.5,
        max_zoom: float = 0.005,
        foreground_probability: Probability = 0.3,
        rest_probability: Probability = 0.0,
        scale_range: tuple[Scale, Scale] = (0.55, 1.0),
        augment: bool = True,
        recolour_probability: Probability = 0.0,
        seed: Seed = 0,
        length: Count = 10_000,
        cache_mb: Megabytes = 512,
        on_device: bool = False,
        include: list[str] | None = None,
        exclude: list[str] | None = None,
    ) -> None:
        height, width = (size, size) if isinstance(size, int) else size
        for name, value, holds, expected in (
            ("frames", frames, frames >= 1, "at least 1"),
            ("size", size, min(height, width) >= 2 and height % 2 == width % 2 == 0, "even numbers of at least 2"),
            ("max_shift", max_shift, 0 <= max_shift < math.inf, "0 or more raw pixels"),
            ("max_rotation", max_rotation, 0 <= max_rotation <= 10, "0 to 10 degrees"),
            ("max_zoom", max_zoom, 0 <= max_zoom <= 0.1, "0 to 0.1"),
            ("foreground_probability", foreground_probability, 0 <= foreground_probability <= 1, "0 to 1"),
            ("rest_probability", rest_probability, 0 <= rest_probability <= 1, "0 to 1"),
            ("scale_range", scale_range, 0 < scale_range[0] <= scale_range[1] <= 1, "0 < smallest <= largest <= 1"),
            ("recolour_probability", recolour_probability, 0 <= recolour_probability <= 1, "0 to 1"),
            ("seed", seed, seed >= 0, "0 or more"),
            ("length", length, length >= 1, "at least 1"),
            ("cache_mb", cache_mb, cache_mb >= 0, "0 or more MiB"),
        ):
            if not holds:
                raise ValueError(f"StillsInMotion: {name}: found {value}, expected {expected}")
        self.pictures = _choose(source, include, exclude)
        self.frames = frames
        self.size = (height, width)
        self.max_shift = max_shift
        self.max_rotation = max_rotation
        self.max_zoom = max_zoom
        self.foreground_probability = foreground_probability
        self.rest_probability = rest_probability
        self.scale_range = scale_range
        self.augment = augment
        self.recolour_probability = recolour_probability
        self.seed = seed
        self.length = length
        self.makes_on_device = on_device
        self._is_procedural = source == PROCEDURAL
        self._read = _draw if self._is_procedural else read_picture
        self._cache = PictureCache(cache_mb * 2**20, self._read)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        """Burst `index`: clean sRGB frames, (N, 3, *size) uint8."""
        plan = self.plan(index)
        views = self._views(plan.scene, self.size)
        if plan.foreground:
            self._add_foreground(views, plan.foreground)
        if plan.colours is not None:
            views = cv2.transform(views.reshape(-1, *views.shape[2:]), plan.colours).reshape(views.shape)
        return to_tensor(views)

    def plan(self, index: int) -> BurstPlan:
        """Draw the plan of burst `index`; no picture is read."""
        if not 0 <= index < self.length:
            raise IndexError(f"StillsInMotion: index: found {index}, expected 0 to {self.length - 1}")
        rng = np.random.default_rng([self.seed, index])
        plan = BurstPlan(
            scene=self._draw_scene(rng),
            foreground=self._draw_foreground(rng) if rng.random() < self.foreground_probability else None,
            colours=random_colours(rng) if rng.random() < self.recolour_probability else None,
        )
        # Drawn last, so that the other draws, and with them the bursts of earlier runs, stay the same.
        if rng.random() < self.rest_probability:
            at_rest = hand_held_motion(rng, self.frames, speed=(0, 0))
            return replace(plan, scene=replace(plan.scene, motion=at_rest))
        return plan

    def walk(self, index: int) -> np.ndarray:
        """True motion of the background of burst `index`.

        Returns:
            (N, 2) [y, x] in raw pixels: what lies in the middle of the reference frame lies `walk` further in a frame.
        """
        return self.plan(index).scene.motion.shift

    def clip(self, index: int) -> str:
        """Return the name of the picture that burst `index` looks at."""
        return self.pictures[self.plan(index).scene.picture].stem

    @property
    def origin(self) -> Path:
        """Folder of the pictures; a name that stands for drawn ones."""
        folder = self.pictures[0].parent
        return folder if self._is_procedural else folder.resolve()

    @property
    def contents(self) -> list[str]:
        """File names of the pictures in use."""
        return [path.name for path in self.pictures]

    def fingerprint(self, name: str) -> bytes:
        """Digest of a picture; of the name of a drawn one, which equals no photograph."""
        if self._is_procedural:
            return hashlib.sha256(name.encode()).digest()
        return fingerprint(read_picture(self.pictures[0].with_name(name)))

    def on_device(self, device: torch.device) -> StillsOnDevice | None:
        """What makes the bursts of a batch on a device, if that was asked for; reads all pictures."""
        return StillsOnDevice(map(self._read, self.pictures), self.size, device) if self.makes_on_device else None

    def _draw_scene(self, rng: np.random.Generator) -> MovingView:
        fastest = rng.uniform(0, self.max_shift)
        return MovingView(
            picture=int(rng.integers(len(self.pictures))),
            scale=rng.uniform(*self.scale_range),
            quarter_turns=int(rng.integers(4)) if self.augment else 0,
            mirrored=self.augment and bool(rng.integers(2)),
            place=rng.random(2),
            motion=hand_held_motion(rng, self.frames, (fastest / 2, fastest), self.max_rotation, self.max_zoom),
        )

    def _draw_foreground(self, rng: np.random.Generator) -> Foreground:
        side = round(min(self.size) * rng.uniform(0.25, 0.65))
        middle = np.array(self.size) * rng.uniform(0.1, 0.9, 2)
        scene = self._draw_scene(rng)
        travel = np.round(RGB_PER_RAW * scene.motion.shift).astype(int)
        motion = replace(scene.motion, shift=scene.motion.shift - travel / RGB_PER_RAW)
        corners = np.round(middle).astype(int) - side // 2 + travel
        return Foreground(replace(scene, motion=motion), corners, random_blob(rng, side))

    def _views(self, scene: MovingView, size: tuple[int, int]) -> np.ndarray:
        """The frames of a scene, (N, *size, 3) uint8."""
        picture = scene.turn(self._cache.read(self.pictures[scene.picture]))
        (rows, top), (columns, left) = scene.spans(picture.shape[:2], size, footprint(scene.motion, size))
        part = scene.turn_back(picture[rows, columns])  # in memory order again: OpenCV would copy anything else
        if scene.scale < 1:
            part_size = [scene.downscaled(side) for side in part.shape[1::-1]]
            part = cv2.resize(part, part_size, interpolation=cv2.INTER_AREA)
        return look(np.ascontiguousarray(scene.turn(part)), scene.motion, (top, left), size)

    def _add_foreground(self, views: np.ndarray, foreground: Foreground) -> None:
        """Lay it over the frames, in place."""
        side, motion = len(foreground.opacity), foreground.scene.motion
        textures = self._views(foreground.scene, (side, side))
        opacities = look(foreground.opacity, motion, (0, 0), (side, side), border=cv2.BORDER_CONSTANT)
        for view, texture, opacity, (top, left) in zip(
            views, textures, np.clip(opacities, 0, 1), foreground.corners, strict=True
        ):
            under = view[max(top, 0) : max(top + side, 0), max(left, 0) : max(left + side, 0)]
            inside = np.s_[max(-top, 0) :, max(-left, 0) :]
            texture, opacity = (x[inside][: under.shape[0], : under.shape[1]] for x in (texture, opacity))
            if under.size:
                under[:] = cv2.blendLinear(texture, under, opacity, 1 - opacity)


def _draw(path: Path) -> np.ndarray:
    return procedural_picture(int(path.stem))


def _choose(source: str | Path, include: list[str] | None, exclude: list[str] | None) -> list[Path]:
    if source == "skimage":
        paths = list(map(bundled_path, BUNDLED))
    elif source == PROCEDURAL:
        paths = [Path(PROCEDURAL, f"{number:04d}") for number in range(COUNT)]
    else:
        paths = list_pictures(locate(Path(source)))
    names = [path.stem for path in paths]
    missing = [name for name in include or () if name not in names]
    missing += [name for name in exclude or () if source == "skimage" and name not in names]
    if missing:
        raise UserError(f"{source}: has no picture named {missing[0]}")
    chosen = [path for path in paths if (include is None or path.stem in include) and path.stem not in (exclude or ())]
    if not chosen:
        raise UserError(f"{source}: include and exclude leave no picture")
    return chosen
