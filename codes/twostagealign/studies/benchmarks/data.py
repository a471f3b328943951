"""Benchmark of writing LMDBs, reading training bursts, and waiting for data in training."""

import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

import cv2
import numpy as np

from twostagealign.data import REDS, bundled_picture, write_picture, write_store
from twostagealign.data.clips.clip_folders import ClipFolders
from twostagealign.data.lmdb.store import Compression
from twostagealign.options import load_options
from twostagealign.runtime.files import SHIPPED
from twostagealign.studies.benchmarks.measurement import Measurement, rate
from twostagealign.training.build import build_trainer
from twostagealign.training.trainer import Hooks, StepReport, Trainer

CLIPS = 4
OPTIONS = SHIPPED / "options" / "train" / "two_stage_tiny.yml"
STEPS, WARM_UP = 20, 4
"""Training steps, and how many of the first ones are left out because the workers start in them."""


def benchmark_data(folder: Path | None) -> Iterator[Measurement]:
    """Measure stores of clips, those in `folder` or synthetic ones, and the share of training time spent waiting."""
    yield from benchmark_stores(folder)
    waited, worked = training_seconds()
    yield Measurement("training of nf 16, waiting for data", 100 * waited / (waited + worked), "%", at_most=5)


def training_seconds(options: Path = OPTIONS, steps: int = STEPS, warm_up: int = WARM_UP) -> tuple[float, float]:
    """Seconds that a training's steps after `warm_up` spend waiting for data, and on the rest."""
    with tempfile.TemporaryDirectory() as workplace:
        overrides = [
            f"path:experiments_root={workplace}",
            f"train:total_iter={steps}",
            "datasets:val:length=1",
            "val:pictures=0",
            "logger:tensorboard=false",
        ]
        watch = _StepTimes()
        build_trainer(load_options(options, overrides), hooks=[watch]).run()
    waited, worked = (sum(part) for part in zip(*watch.seconds[warm_up:], strict=True))
    return waited, worked


class _StepTimes(Hooks):
    """Seconds that each step waited for data, and worked."""

    def __init__(self) -> None:
        self.seconds: list[tuple[float, float]] = []

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        self.seconds.append((report.waited, report.worked))


def benchmark_stores(folder: Path | None, seconds: float = 2.0) -> Iterator[Measurement]:
    """Measure writing on all cores and reading in one process, with all files in the file cache.

    Args:
        folder: clip folders, of which the first few are used; None: synthetic frames of the size of REDS.
        seconds: reading time per source, seconds.

    Yields:
        Frames written and bursts read per second, and megabytes per frame, for each kind of store.
    """
    with tempfile.TemporaryDirectory() as workplace:
        clips = Path(workplace) / "clips"
        clips.mkdir()
        if folder is None:
            make_clips(clips, count=CLIPS, frames=10, height=720, width=1280)
        else:
            for clip in islice(ClipFolders(folder).clips, CLIPS):
                (clips / clip).symlink_to((folder / clip).resolve())
        stores = {"PNG folders": clips}
        for compression in get_args(Compression):
            stores[name := f"LMDB {compression}"] = Path(workplace) / f"{compression}.lmdb"
            start = time.perf_counter()
            frames = write_store(clips, stores[name], compression).count
            yield Measurement(f"write {name}", frames / (time.perf_counter() - start), "frames/s")
        for name, path in stores.items():
            files = [file for file in path.glob("*/*") if file.is_file()] if path == clips else [path / "data.mdb"]
            yield Measurement(f"size in {name}", sum(file.stat().st_size for file in files) / frames / 1e6, "MB/frame")
        source = ClipFolders(clips)
        side = min(384, source.height // 2 * 2, source.width // 2 * 2)
        for name, path in stores.items():
            bursts = REDS(path, size=side, exclude=[])
            yield Measurement(f"read {name}, 5 x {side} x {side}", rate(bursts.__getitem__, seconds), "bursts/s")


def make_clips(folder: Path, count: int, frames: int, height: int, width: int) -> None:
    """Write clips of a moving photograph, with noise that makes them about as hard to compress as REDS."""
    photograph = bundled_picture("coffee")
    scale = 1.2 * max(height / photograph.shape[0], width / photograph.shape[1])
    scene = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC).astype(np.int16)
    rng = np.random.default_rng(0)
    for clip in range(count):
        (folder / f"{clip:03d}").mkdir()
        room = np.array(scene.shape[:2]) - (height, width)
        start, end = rng.uniform(0, 1, (2, 2)) * room
        for frame in range(frames):
            top, left = (start + (end - start) * frame / frames).astype(int)
            view = scene[top : top + height, left : left + width]
            noisy = (view + rng.normal(0, 1.5, view.shape).round()).clip(0, 255).astype(np.uint8)
            write_picture(folder / f"{clip:03d}" / f"{frame:08d}.png", noisy)
