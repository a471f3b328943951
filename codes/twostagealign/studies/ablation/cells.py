"""The measurements: every method on every scene at every noise level, and the file that keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import Field, ValidationError
from tqdm import tqdm

from twostagealign.evaluation.results import Record, write_record
from twostagealign.restoration.quality import develop, measure
from twostagealign.runtime.errors import UserError
from twostagealign.studies.ablation.methods import Method
from twostagealign.studies.ablation.scenes import MEASURED, NOISE, SIZE, AblationScene, middle


class Cell(Record):
    """How well a method restores a burst."""

    method: str
    weights: str | None = Field(description="SHA-256 of the network's weights; null for a method without a network")
    group: str = Field(description="scenes that tables average over")
    picture: str
    shift: int | None = Field(description="raw pixels from frame to frame; null for the motion of a clip")
    noise: str
    psnr: float = Field(description="in the middle of the frame, dB")
    ssim: float = Field(description="in the middle of the frame")


class Measurements(Record):
    """Content of results.json."""

    frame_side: int = Field(description="of the square frames, RGB pixels")
    measured_side: int = Field(description="of the square in their middle that is measured, RGB pixels")
    noise: dict[str, tuple[float, float]] = Field(description="shot and read noise of each level")
    cells: list[Cell]


def measure_all(methods: Sequence[Method], scenes: Sequence[AblationScene], path: Path) -> list[Cell]:
    """Restore and measure every scene at every noise level by every method.

    What the file already holds is not computed again, unless the weights have changed.

    Args:
        methods: of different names.
        scenes: to be restored.
        path: results.json; it is written after every burst. What it holds of other methods and scenes stays there.

    Returns:
        The cells of these methods and scenes.

    Raises:
        UserError: the file cannot be read or written.
    """
    weights = {method.name: method.weights for method in methods}
    cells = {_key(cell): cell for cell in _read_cells(path) if weights.get(cell.method, cell.weights) == cell.weights}
    wanted = [(scene, noise) for scene in scenes for noise in NOISE]
    keys = [_key_of(method, scene, noise) for scene, noise in wanted for method in methods]
    done = sum(key in cells for key in keys)
    with tqdm(total=len(keys), initial=done, unit="picture", dynamic_ncols=True) as progress:
        for scene, noise in wanted:
            missing = [method for method in methods if _key_of(method, scene, noise) not in cells]
            if not missing:
                continue
            burst = scene.burst(noise)
            target = middle(develop(burst.target(), burst.camera))
            for method in missing:
                progress.set_description(f"{scene.picture}, {noise} noise, {method.name}")
                quality = _known(cells.values(), method, scene, noise)
                quality = quality or measure(middle(method.restore(burst)), target)
                cell = Cell(
                    method=method.name,
                    weights=method.weights,
                    group=scene.group,
                    picture=scene.picture,
                    shift=scene.shift,
                    noise=noise,
                    psnr=quality.psnr,
                    ssim=quality.ssim,
                )
                cells[_key(cell)] = cell
                progress.update()
            content = {**_measured_on(), "cells": list(cells.values())}
            write_record(path, Measurements(**content))
    return [cells[key] for key in keys]


def _known(cells: Iterable[Cell], method: Method, scene: AblationScene, noise: str) -> Cell | None:
    """What a method that looks at the reference frame alone has reached at another shift: that frame is the same."""
    if not method.one_frame or scene.shift is None:
        return None
    wanted = (method.name, scene.group, scene.picture, noise)
    return next((cell for cell in cells if (cell.method, cell.group, cell.picture, cell.noise) == wanted), None)


def _key(cell: Cell) -> tuple[str | int | None, ...]:
    return cell.method, cell.group, cell.picture, cell.shift, cell.noise


def _key_of(method: Method, scene: AblationScene, noise: str) -> tuple[str | int | None, ...]:
    return method.name, scene.group, scene.picture, scene.shift, noise


def _measured_on() -> dict[str, object]:
    """Frames and noise levels, as results.json describes them."""
    noise = {name: (level.shot, level.read) for name, level in NOISE.items()}
    return {"frame_side": SIZE, "measured_side": MEASURED, "noise": noise}


def _read_cells(path: Path) -> list[Cell]:
    if not path.exists():
        return []
    try:
        found = Measurements.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged, or of another program"
        raise UserError(
            f"{path}: {reason}, expected the results of an ablation; --output names another folder"
        ) from error
    if found.model_dump(exclude={"cells"}) != _measured_on():
        raise UserError(
            f"{path}: measured on other frames or noise levels, expected the same; --output names another folder"
        )
    return found.cells
