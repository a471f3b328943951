from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from twostagealign.restoration.frame import RestoredFrame
from twostagealign.restoration.quality import Quality
from twostagealign.runtime.errors import UserError
from twostagealign.studies.demo_figure import Panel, TileOffsets, compare_offsets, draw_comparison


@pytest.fixture
def offsets() -> TileOffsets:
    """Four tiles of 64 in a frame of 100 x 128, the second row cut to 36 rows; one neighbour on each side."""
    origins = torch.tensor([[0, 0], [0, 64], [64, 0], [64, 64]])
    true = np.array([[-20.0, 10.0], [0.0, 0.0], [0.0, -16.5]])
    shifts = torch.tensor([[[-20, 12], [0, 0], [0, -16]]]).repeat(4, 1, 1)
    shifts[2, 0] = torch.tensor([-24, 5])  # a column off by more than a feature pixel
    shifts[3, 2] = torch.tensor([4, -20])
    return compare_offsets(RestoredFrame(origins, shifts, {}, image=torch.zeros(3, 200, 256)), true, 64)


def test_tiles_that_leave_a_frame_do_not_count(offsets: TileOffsets) -> None:
    # Up and to the right: only the lower left tile stays inside; to the left: the two on the right.
    assert offsets.visible.T.tolist() == [[False, False, True, False], [True] * 4, [False, True, False, True]]
    assert offsets.count_found() == (2, 3)
    assert offsets.median() == [[-24.0, 5.0], [0.0, 0.0], [2.0, -18.0]]


def test_no_median_where_no_tile_is_visible(offsets: TileOffsets) -> None:
    nothing = TileOffsets(offsets.true, offsets.matched, np.zeros_like(offsets.visible))
    assert nothing.median() == [None] * 3
    assert nothing.count_found() == (0, 0)


def test_figure_shows_the_pictures_in_order(tmp_path: Path, offsets: TileOffsets) -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30)]
    panels = [
        Panel(f"Method {i}", np.full((60, 80, 3), c, np.uint8), Quality(20 + i, 0.5)) for i, c in enumerate(colours)
    ]
    draw_comparison(tmp_path / "figure.png", "Title", panels, offsets)
    figure = cv2.imread(str(tmp_path / "figure.png"))[..., ::-1]
    assert figure.shape[1] == 1800
    columns = np.array_split(figure.reshape(len(figure), -1, 3), 4, axis=1)
    for column, colour in zip(columns, colours, strict=True):
        shares = [np.mean((column == other).all(axis=2)) for other in colours]
        assert shares[colours.index(colour)] > 0.3
        assert sum(shares) < 1.1 * shares[colours.index(colour)]
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    draw_comparison(tmp_path / "bare.png", "Title", panels, None)
    bare = cv2.imread(str(tmp_path / "bare.png"))[..., ::-1]
    np.testing.assert_array_equal(bare[100:], figure[100 : len(bare)])  # the same without the plots below
    assert len(bare) < len(figure) - 300


def test_figure_that_cannot_be_written(tmp_path: Path, offsets: TileOffsets) -> None:
    panel = Panel("Method", np.zeros((60, 80, 3), np.uint8))
    with pytest.raises(UserError, match=r"figure\.png: cannot be written"):
        draw_comparison(tmp_path / "missing" / "figure.png", "Title", [panel], offsets)
