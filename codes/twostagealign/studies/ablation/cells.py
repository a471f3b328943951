"""Measurements of every method on every scene at every noise level, and the file that stores them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from pydantic import Field, ValidationError
from torch import Tensor
from tqdm import tqdm

from twostagealign.evaluation.results import Record, write_record
from twostagealign.restoration.quality import develop, measure, measure_look
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import read_regular
from twostagealign.studies.ablation.methods import Method
from twostagealign.studies.ablation.scenes import FRAMES, MEASURED, NOISE, SIZE, AblationScene, middle


class Cell(Record):
    """Quality of one burst restored by one method."""

    method: str
    weights: str | None = Field(description="SHA-256 of the network's weights; null for a method without a network")
    group: str = Field(description="group of scenes that tables average over")
    picture: str
    shift: int | None = Field(description="shift from frame to frame, raw pixels; null for the motion of a clip")
    noise: str
    frames: int = Field(FRAMES, description="number of frames of the burst")
    psnr: float = Field(description="PSNR in the middle of the frame, dB")
    ssim: float = Field(description="SSIM in the middle of the frame")
    chroma_error: float | None = Field(None, description="error of colour at low frequencies in even areas, levels")
    texture_ratio: float | None = Field(None, description="energy of fine texture, share of the ground truth's")
    texture_correlation: float | None = Field(None, description="correlation of fine texture with the ground truth's")


MEASURES = {"psnr", "ssim", "chroma_error", "texture_ratio", "texture_correlation"}


class Measurements(Record):
    """Content of results.json."""

    frame_side: int = Field(description="side of the square frames, RGB pixels")
    measured_side: int = Field(description="side of the measured square in their middle, RGB pixels")
    noise: dict[str, tuple[float, float]] = Field(description="shot and read noise of each level")
    cells: list[Cell]


def measure_all(
    methods: Sequence[Method], scenes: Sequence[AblationScene], path: Path, levels: Sequence[str] = tuple(NOISE)
) -> list[Cell]:
    """Restore and measure every scene at some noise levels by every method, and return the cells.

    Cells that the file already has are not computed again, unless the weights have changed.

    Args:
        methods: methods with different names.
        scenes: scenes to restore.
        path: results.json, written after every burst. Cells of other methods, scenes and levels are kept.
        levels: names of levels of `NOISE`.
    """
    weights = {method.name: method.weights for method in methods}
    cells = {_key(cell): cell for cell in _read_cells(path) if weights.get(cell.method, cell.weights) == cell.weights}
    wanted = [(scene, noise) for scene in scenes for noise in levels]
    keys = [_key_of(method, scene, noise) for scene, noise in wanted for method in methods]
    done = sum(key in cells for key in keys)
    with tqdm(total=len(keys), initial=done, unit="picture", dynamic_ncols=True) as progress:
        for scene, noise in wanted:
            missing = [method for method in methods if _key_of(method, scene, noise) not in cells]
            if not missing:
                continue
            burst = scene.burst(NOISE[noise])
            target = middle(develop(burst.target(), burst.camera))
            for method in missing:
                progress.set_description(f"{scene.picture}, {noise} noise, {method.name}")
                known = _known(cells.values(), method, scene, noise)
                quality = known or _measure(middle(method.restore(burst)), target)
                cell = Cell(
                    method=method.name,
                    weights=method.weights,
                    group=scene.group,
                    picture=scene.picture,
                    shift=scene.shift,
                    noise=noise,
                    frames=scene.number,
                    **quality,
                )
                cells[_key(cell)] = cell
                progress.update()
            write_record(path, _measurements(cells.values()))
    return [cells[key] for key in keys]


def _measure(srgb: Tensor, target: Tensor) -> dict[str, float]:
    return asdict(measure(srgb, target)) | asdict(measure_look(srgb, target))


def _known(cells: Iterable[Cell], method: Method, scene: AblationScene, noise: str) -> dict[str, float | None] | None:
    """Return the measures of another shift, for a method that only uses the reference frame, which is the same."""
    if not method.one_frame or scene.shift is None:
        return None
    wanted = (method.name, scene.group, scene.picture, noise)
    found = (cell for cell in cells if (cell.method, cell.group, cell.picture, cell.noise) == wanted)
    return next((cell.model_dump(include=MEASURES) for cell in found), None)


def _key(cell: Cell) -> tuple[str | int | None, ...]:
    return cell.method, cell.group, cell.picture, cell.shift, cell.noise, cell.frames


def _key_of(method: Method, scene: AblationScene, noise: str) -> tuple[str | int | None, ...]:
    return method.name, scene.group, scene.picture, scene.shift, noise, scene.number


def _measurements(cells: Iterable[Cell]) -> Measurements:
    noise = {name: (level.shot, level.read) for name, level in NOISE.items()}
    return Measurements(frame_side=SIZE, measured_side=MEASURED, noise=noise, cells=list(cells))


def _read_cells(path: Path) -> list[Cell]:
    if not path.exists():
        return []
    try:
        found = Measurements.model_validate_json(read_regular(path, 2**26, "the results of an ablation"))
    except ValidationError as error:
        raise UserError(
            f"{path}: not the results of an ablation, or damaged; pass --output for another folder"
        ) from error
    if found != _measurements(found.cells):
        raise UserError(f"{path}: measured on other frames or noise levels; pass --output for another folder")
    return found.cells
