import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from twostagealign.data import Burst
from twostagealign.restoration.quality import develop
from twostagealign.runtime.errors import UserError
from twostagealign.studies.ablation.cells import measure_all
from twostagealign.studies.ablation.methods import Method, baselines
from twostagealign.studies.ablation.scenes import NOISE, AblationScene, middle
from twostagealign.studies.classical import demosaicked


def flat(shift: int | None, level: int = 100) -> AblationScene:
    def frames() -> Tensor:
        return torch.full((5, 3, 64, 64), level, dtype=torch.uint8)

    return AblationScene("flat", f"grey {level}", shift, frames)


class Counted(Method):
    """The truth, made brighter by a known amount, and by as much more beyond the middle; counts its calls."""

    def __init__(self, name: str, error: float, weights: str | None = None, one_frame: bool = False) -> None:
        self.__dict__["calls"] = 0

        def restore(burst: Burst) -> Tensor:
            self.__dict__["calls"] += 1
            srgb = develop(burst.target(), burst.camera) + 5 * error
            middle(srgb).sub_(4 * error)
            return srgb

        super().__init__(name, restore, weights, one_frame=one_frame)


def test_the_middle_is_measured_against_the_truth(tmp_path: Path) -> None:
    cells = measure_all([Counted("a", 0.1), Counted("b", 0.01)], [flat(0), flat(8)], tmp_path / "results.json")
    assert len(cells) == 2 * 2 * len(NOISE)
    for cell in cells:
        assert cell.psnr == pytest.approx(20 if cell.method == "a" else 40, abs=1e-3)
        assert 0.9 < cell.ssim < 1
    assert [cell.method for cell in cells[:3]] == ["a", "b", "a"]
    assert {(cell.shift, cell.noise) for cell in cells} == {(shift, noise) for shift in (0, 8) for noise in NOISE}


def test_finished_cells_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    first = Counted("a", 0.1)
    before = measure_all([first], [flat(0)], path)
    again, other = Counted("a", 0.1), Counted("b", 0.1)
    after = measure_all([again, other], [flat(0), flat(None)], path)
    assert (first.calls, again.calls, other.calls) == (3, 3, 6)
    assert [cell for cell in after if (cell.method, cell.shift) == ("a", 0)] == before
    # What is not asked for stays in the file, and is not returned.
    assert len(measure_all([other], [flat(0)], path)) == 3
    assert len(json.loads(path.read_text())["cells"]) == 12


def test_an_interruption_loses_one_burst_at_most(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    patient = Counted("a", 0.1)

    def interrupted(burst: Burst) -> Tensor:
        if patient.calls == 3:
            raise KeyboardInterrupt
        return demosaicked(burst)

    with pytest.raises(KeyboardInterrupt):
        measure_all([patient, Method("b", interrupted)], [flat(0), flat(8)], path)
    again = Counted("a", 0.1)
    assert len(measure_all([again, Method("b", demosaicked)], [flat(0), flat(8)], path)) == 12
    assert again.calls == 6 - 2


def test_new_weights_are_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    measure_all([Counted("a", 0.1, "old"), Counted("b", 0.1, "b")], [flat(0)], path)
    new, same = Counted("a", 0.01, "new"), Counted("b", 0.1, "b")
    cells = measure_all([new, same], [flat(0)], path)
    assert (new.calls, same.calls) == (3, 0)
    assert {cell.weights for cell in cells} == {"new", "b"}
    assert len(json.loads(path.read_text())["cells"]) == 6


@pytest.mark.parametrize("content", ["", "{", '{"cells": []}', '{"cells": [{}]}'])
def test_a_file_that_is_something_else_is_not_overwritten(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"results\.json: not the results of an ablation, or damaged; pass") as caught:
        measure_all([Counted("a", 0.1)], [flat(0)], path)
    assert "\n" not in str(caught.value)
    assert path.read_text() == content


def test_a_pipe_is_refused_and_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(UserError, match=r"results\.json: is a pipe, a device or a socket"):
        measure_all([Counted("a", 0.1)], [flat(0)], tmp_path / "results.json")


def test_results_for_other_frames_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    measure_all([Counted("a", 0.1)], [flat(0)], path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"measured_side": 300}))
    with pytest.raises(UserError, match="measured on other frames or noise levels"):
        measure_all([Counted("a", 0.1)], [flat(0)], path)


def test_each_baseline_beats_the_one_that_does_less(tmp_path: Path) -> None:
    """On a flat field that rests: five times less variance in linear light are 7 dB, in sRGB a little more."""
    names = [method.name for method in baselines()]
    assert names == [
        f"{what}{then}" for what in ("demosaicking", "burst average") for then in ("", " + non-local means")
    ]
    cells = measure_all(baselines(), [flat(0, 190)], tmp_path / "results.json")
    psnr = {(cell.method, cell.noise): cell.psnr for cell in cells}
    for noise in NOISE:
        plain, smooth, average, both = (psnr[name, noise] for name in names)
        assert average > plain + 6
        assert smooth > plain + 6
        assert both > max(average, smooth) + 1


def test_what_looks_at_one_frame_is_computed_for_one_shift(tmp_path: Path) -> None:
    one, burst = Counted("a", 0.1, one_frame=True), Counted("b", 0.1)
    scenes_in_motion = [flat(0), flat(8), flat(0, level=50), flat(None)]
    cells = measure_all([one, burst], scenes_in_motion, tmp_path / "results.json")
    assert len(cells) == 2 * 4 * len(NOISE)
    assert (one.calls, burst.calls) == (3 * len(NOISE), 4 * len(NOISE))


def test_bursts_of_different_numbers_of_frames_are_told_apart(tmp_path: Path) -> None:
    def grey(number: int) -> AblationScene:
        def frames() -> Tensor:
            return torch.full((number, 3, 64, 64), 100, dtype=torch.uint8)

        return AblationScene("flat", "grey", 8, frames, number=number)

    path = tmp_path / "results.json"
    counted = Counted("a", 0.1)
    cells = measure_all([counted], [grey(number) for number in (1, 2, 9)], path, levels=["high"])
    assert [cell.frames for cell in cells] == [1, 2, 9]
    assert measure_all([counted], [grey(9)], path, levels=["high"]) == cells[2:]
    assert counted.calls == 3
