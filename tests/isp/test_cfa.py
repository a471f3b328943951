import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twostagealign.isp import CFA_ORDERS, extend_to_rggb, pack, red_position

SIZES = st.integers(2, 7)


def colours(cfa: str, height: int, width: int) -> np.ndarray:
    """Letter of the filter over every sample."""
    return np.array([[cfa[2 * (y % 2) + x % 2] for x in range(width)] for y in range(height)])


@settings(deadline=None, max_examples=60)
@given(cfa=st.sampled_from(CFA_ORDERS), height=SIZES, width=SIZES)
def test_every_order_and_size_becomes_whole_rggb_cells(cfa, height, width) -> None:
    letters = colours(cfa, height, width)
    codes = torch.from_numpy(np.select([letters == "R", letters == "G"], [1.0, 2.0], 3.0))
    extended = extend_to_rggb(codes[None], cfa)[0]
    assert all(
        side % 2 == 0 and 0 <= side - given <= 2 for side, given in zip(extended.shape, codes.shape, strict=True)
    )
    red, green1, green2, blue = pack(extended)  # RGGB
    assert (red == 1).all()
    assert (green1 == 2).all()
    assert (green2 == 2).all()
    assert (blue == 3).all()


@settings(deadline=None, max_examples=60)
@given(cfa=st.sampled_from(CFA_ORDERS), height=SIZES, width=SIZES, frames=st.integers(1, 3))
def test_samples_stay_and_the_rest_is_mirrored(cfa, height, width, frames) -> None:
    mosaics = torch.rand(frames, height, width, generator=torch.Generator().manual_seed(0))
    extended = extend_to_rggb(mosaics, cfa)
    top, left = red_position(cfa)
    assert torch.equal(extended[:, top : top + height, left : left + width], mosaics)
    bottom, right = (extended.shape[1] - top - height, extended.shape[2] - left - width)
    expected = np.pad(mosaics.numpy(), ((0, 0), (top, bottom), (left, right)), mode="reflect")
    np.testing.assert_array_equal(extended, expected)


def test_nothing_is_added_where_nothing_is_missing() -> None:
    mosaics = torch.rand(2, 4, 6)
    assert torch.equal(extend_to_rggb(mosaics, "RGGB"), mosaics)


@pytest.mark.parametrize("cfa", CFA_ORDERS)
def test_red_position(cfa) -> None:
    """As many rows and columns as red lies away from the corner."""
    (found,) = np.argwhere(colours(cfa, 2, 2) == "R").tolist()
    assert red_position(cfa) == tuple(found)


@pytest.mark.parametrize("cfa", ["RGBG", "rggb", "", "GGRB"])
def test_unknown_order(cfa) -> None:
    expected = f"^cfa: found '{cfa}', expected one of RGGB, BGGR, GRBG, GBRG$"
    with pytest.raises(ValueError, match=expected):
        red_position(cfa)
    with pytest.raises(ValueError, match=expected):
        extend_to_rggb(torch.zeros(1, 4, 4), cfa)
