from pathlib import Path

import cv2

from twostagealign.studies.ablation.cells import Cell
from twostagealign.studies.network_comparison.costs import Cost
from twostagealign.studies.network_comparison.report import draw, tables

ROWS = {"tiny": ["tiny"], "EDVR": ["EDVR, seed 0", "EDVR, seed 1"]}


def cells() -> list[Cell]:
    """Two pictures at two shifts, and a clip; a decibel more for each further run, half for the other picture."""
    return [
        Cell(
            method=run, weights="sha", group=group, picture=picture, shift=shift, noise=noise, ssim=0.5,
            psnr=20 + i + 10 * (noise == "low") + (shift or 0) / 100 + 0.5 * (picture == "q"),
        )
        for i, run in enumerate(run for runs in ROWS.values() for run in runs)
        for group, shifts in (("photographs", (0, 24)), ("a clip", (None,)))
        for picture in ("p", "q")
        for shift in shifts
        for noise in ("high", "low")
    ]  # fmt: skip


def test_tables_have_each_run_and_what_a_network_costs() -> None:
    cost = Cost({"type": "EDVR", "nf": 20}, 339_955, 486.3, 16.81)
    blocks = tables(cells(), ROWS, {"EDVR": cost, "KPN": Cost({"type": "KPN"}, 1, None, 1.0)}).strip().split("\n\n")
    assert blocks[0].splitlines()[2:] == ["| EDVR | 20 | 339 955 | 486 | 16.8 |", "| KPN |  | 1 |  | 1.0 |"]
    assert blocks[1].startswith("PSNR (dB) at high noise")
    assert blocks[2].splitlines() == [
        "|  | photographs, 0 | photographs, 24 | a clip |",
        "| --- | --- | --- | --- |",
        "| tiny | 20.25 | 20.49 | 20.25 |",
        "| EDVR | 21.25, 22.25 | 21.49, 22.49 | 21.25, 22.25 |",
    ]
    assert blocks[4].splitlines()[-1] == "| EDVR | 31.25, 32.25 | 31.49, 32.49 | 31.25, 32.25 |"
    assert len(blocks) == 5


def test_plot_has_a_line_per_network(tmp_path: Path) -> None:
    path = tmp_path / "networks.png"
    draw(path, cells(), ROWS)
    picture = cv2.imread(str(path))
    orange = (picture[..., 2] > 200) & (picture[..., 0] < 60)
    black = picture.max(axis=2) < 40
    assert orange.sum() > 100
    assert black.sum() > 100
    draw(path, cells(), {"tiny": ROWS["tiny"]})
    picture = cv2.imread(str(path))
    assert not ((picture[..., 2] > 200) & (picture[..., 0] < 60)).any()
