from pathlib import Path

import cv2
import pytest

from twostagealign.studies.ablation.cells import Cell
from twostagealign.studies.ablation.methods import Method
from twostagealign.studies.ablation.report import draw, draw_by_number, table_by_number, tables
from twostagealign.studies.ablation.scenes import NOISE
from twostagealign.studies.classical import demosaicked

METHODS = [
    Method("demosaicking", demosaicked),
    Method("both stages", demosaicked, "sha", "5 of 6 iterations"),
    Method("one", demosaicked, "sha", "6 of 6 iterations"),
]


def cell(method: str, group: str, picture: str, shift: int | None, noise: str, psnr: float) -> Cell:
    looks = {"chroma_error": psnr / 10, "texture_ratio": psnr / 100, "texture_correlation": 0.75}
    return Cell(
        method=method,
        weights=None,
        group=group,
        picture=picture,
        shift=shift,
        noise=noise,
        psnr=psnr,
        ssim=0.5,
        **looks,
    )


CELLS = [
    cell(method.name, group, picture, shift, noise, 20 + 2 * i + j + (shift or 0) / 100 + 0.5 * (picture == "q"))
    for i, method in enumerate(METHODS)
    for group, shifts in (("photographs", (0, 24)), ("a clip", (None,)))
    for picture in ("p", "q")
    for shift in shifts
    for j, noise in enumerate(NOISE)
]


def test_tables_hold_the_means_over_pictures() -> None:
    blocks = tables(CELLS, METHODS).strip().split("\n\n")
    assert blocks[0].splitlines() == [
        "| variant | trained for |",
        "| --- | --- |",
        "| both stages | 5 of 6 iterations |",
        "| one | 6 of 6 iterations |",
    ]
    assert "photographs at medium noise, mean over 2" in blocks[3]
    assert blocks[4].splitlines() == [
        "|  | 0 | 24 |",
        "| --- | --- | --- |",
        "| demosaicking | 21.25 | 21.49 |",
        "| both stages | 23.25 | 23.49 |",
        "| one | 25.25 | 25.49 |",
    ]
    assert blocks[7] == "PSNR (dB) on a clip, mean over 2 bursts:"
    assert blocks[8].splitlines()[0] == "|  | high noise | medium noise | low noise |"
    assert blocks[8].splitlines()[-1] == "| one | 24.25 | 25.25 | 26.25 |"
    assert "fine texture on photographs at high noise" in blocks[9]
    assert blocks[10].splitlines()[-1] == "| one | 2.44 | 0.24 | 0.75 |"
    assert len(blocks) == 13


def test_cells_of_former_files_have_no_measures_of_texture() -> None:
    former = [cell.model_copy(update={"texture_ratio": None}) for cell in CELLS]
    assert "| one | 2.44 |  | 0.75 |" in tables(former, METHODS)


@pytest.mark.parametrize("methods", [METHODS, METHODS[:1]])
def test_plot_is_drawn(tmp_path: Path, methods: list[Method]) -> None:
    path = tmp_path / "ablation.png"
    draw(path, CELLS, methods)
    picture = cv2.imread(str(path))
    # The lines of networks are orange and black; without any, nothing but axes is drawn.
    orange = ((picture[..., 2] > 200) & (picture[..., 0] < 60)).sum()
    assert (orange > 100) == (len(methods) > 1)


BY_NUMBER = [
    cell(method.name, "moving", picture, 8, "high", 20 + i + frames + (picture == "q")).model_copy(
        update={"frames": frames}
    )
    for i, method in enumerate(METHODS)
    for picture in ("p", "q")
    for frames in (1, 2, 9)
]


def test_a_table_by_the_number_of_frames() -> None:
    assert table_by_number(BY_NUMBER, METHODS).splitlines() == [
        "PSNR (dB) on moving at high noise, mean over 2, by the number of frames:",
        "",
        "|  | 1 | 2 | 9 |",
        "| --- | --- | --- | --- |",
        "| demosaicking | 21.50 | 22.50 | 29.50 |",
        "| both stages | 22.50 | 23.50 | 30.50 |",
        "| one | 23.50 | 24.50 | 31.50 |",
    ]


def test_a_plot_by_the_number_of_frames(tmp_path: Path) -> None:
    for methods in (METHODS, METHODS[:1]):
        draw_by_number(tmp_path / f"{len(methods)}.png", BY_NUMBER, methods)
    pictures = [cv2.imread(str(tmp_path / f"{count}.png")) for count in (3, 1)]
    orange = [((picture[..., 2] > 200) & (picture[..., 0] < 60)).sum() for picture in pictures]
    assert orange[0] > 100 > orange[1]
