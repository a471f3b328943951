from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from twostagealign.isp import CFA_ORDERS, demosaic, mosaic, pack, unmosaic, unpack

DATA = Path(__file__).parents[1] / "data"
COLOURS = "RGB"


def random_tensor(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_mosaic_agrees_with_reference_numbers():
    golden = np.load(DATA / "isp.npz")
    np.testing.assert_array_equal(mosaic(torch.from_numpy(golden["linear"])).numpy(), golden["mosaic"])


@settings(deadline=None, max_examples=20)
@given(
    leading=st.lists(st.integers(1, 3), max_size=2),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    cfa=st.sampled_from(CFA_ORDERS),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.uint8]),
)
def test_pack_and_unpack_undo_each_other(leading, height, width, cfa, dtype):
    bayer = (200 * random_tensor(*leading, 2 * height, 2 * width)).to(dtype)
    planes = pack(bayer, cfa)
    assert planes.shape == (*leading, 4, height, width)
    assert planes.dtype == dtype
    assert torch.equal(unpack(planes, cfa), bayer)
    assert torch.equal(pack(unpack(planes, cfa), cfa), planes)


@pytest.mark.parametrize("cfa", CFA_ORDERS)
def test_pack_orders_planes_by_colour(cfa):
    rows = [cfa[:2], cfa[2:]]
    bayer = torch.tensor([[COLOURS.index(rows[y % 2][x % 2]) for x in range(6)] for y in range(4)])
    assert pack(bayer, cfa).float().mean(dim=(-2, -1)).tolist() == [0, 1, 1, 2]
    # The second plane is the green that shares its rows with red.
    red_row = 0 if "R" in rows[0] else 1
    bayer = torch.arange(4)[:, None].expand(4, 6)
    assert pack(bayer, cfa)[1, 0, 0] == red_row
    assert pack(bayer, cfa)[2, 0, 0] == 1 - red_row


@settings(deadline=None, max_examples=20)
@given(leading=st.lists(st.integers(1, 3), max_size=2), height=st.integers(1, 5), width=st.integers(1, 5))
def test_mosaic_and_unmosaic(leading, height, width):
    planes = 0.1 + random_tensor(*leading, 4, height, width)
    sparse = unmosaic(planes)
    assert sparse.shape == (*leading, 3, 2 * height, 2 * width)
    assert torch.equal(mosaic(sparse), planes)
    # One colour per pixel, the one that the mosaic holds there.
    assert ((sparse > 0).sum(dim=-3) == 1).all()
    assert torch.equal(sparse.sum(dim=-3), unpack(planes))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (mosaic, (2, 3, 4, 6)),
        (unmosaic, (2, 4, 2, 3)),
        (pack, (2, 4, 6)),
        (unpack, (2, 4, 2, 3)),
        (demosaic, (2, 4, 2, 3)),
    ],
)
def test_gradient_is_the_adjoint(function, shape):
    # All of them are linear: <f(x), y> = <x, f*(y)>.
    x = random_tensor(*shape, dtype=torch.float64).requires_grad_()
    result = function(x)
    y = random_tensor(*result.shape, seed=1, dtype=torch.float64)
    (gradient,) = torch.autograd.grad(result, x, y)
    torch.testing.assert_close((result * y).sum(), (x * gradient).sum())


def reference_demosaic(rgb: np.ndarray, y: int, x: int) -> tuple[float, float, float]:
    """Formulas of Malvar et al. at one pixel: bilinear interpolation plus a Laplacian of the pixel's own colour."""
    m = np.empty(rgb.shape[1:])
    m[0::2, 0::2], m[0::2, 1::2] = rgb[0, 0::2, 0::2], rgb[1, 0::2, 1::2]
    m[1::2, 0::2], m[1::2, 1::2] = rgb[1, 1::2, 0::2], rgb[2, 1::2, 1::2]
    across, down = m[y, x - 1] + m[y, x + 1], m[y - 1, x] + m[y + 1, x]
    far_across, far_down = m[y, x - 2] + m[y, x + 2], m[y - 2, x] + m[y + 2, x]
    diagonal = m[y - 1, x - 1] + m[y - 1, x + 1] + m[y + 1, x - 1] + m[y + 1, x + 1]
    if y % 2 == x % 2:  # at red or blue
        laplacian = m[y, x] - (far_across + far_down) / 4
        green = (across + down) / 4 + laplacian / 2
        other = diagonal / 4 + 3 / 4 * laplacian
        return (m[y, x], green, other) if y % 2 == 0 else (other, green, m[y, x])
    in_row = across / 2 + 5 / 8 * (m[y, x] - (diagonal + far_across - far_down / 2) / 5)
    in_column = down / 2 + 5 / 8 * (m[y, x] - (diagonal + far_down - far_across / 2) / 5)
    return (in_row, m[y, x], in_column) if y % 2 == 0 else (in_column, m[y, x], in_row)


def test_demosaic_agrees_with_the_published_formulas():
    rgb = random_tensor(3, 10, 12, dtype=torch.float64)
    found = demosaic(mosaic(rgb)).numpy()
    for y in range(2, 8):
        for x in range(2, 10):
            np.testing.assert_allclose(found[:, y, x], reference_demosaic(rgb.numpy(), y, x), atol=1e-7)


@settings(deadline=None, max_examples=10)
@given(leading=st.lists(st.integers(1, 3), max_size=2), height=st.integers(2, 6), width=st.integers(2, 6))
def test_demosaic_keeps_samples(leading, height, width):
    planes = random_tensor(*leading, 4, height, width)
    torch.testing.assert_close(mosaic(demosaic(planes)), planes, rtol=0, atol=1e-6)


def test_demosaic_is_exact_on_colour_ramps():
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(32.0), indexing="ij")
    ramp = torch.stack([0.2 + 0.01 * x, 0.9 - 0.02 * y, 0.5 + 0.005 * x - 0.01 * y])
    error = (demosaic(mosaic(ramp)) - ramp).abs()
    assert error[:, 2:-2, 2:-2].max() < 1e-6


def test_demosaic_is_near_exact_on_smooth_pictures():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    wave = 0.5 + 0.4 * torch.cos(2 * torch.pi * x / 95 + 0.3) * torch.cos(2 * torch.pi * y / 63)
    for smooth, tolerance in ((wave.expand(3, -1, -1), 2e-3), (torch.stack([wave, 0.3 + 0.5 * wave, 1 - wave]), 8e-3)):
        error = (demosaic(mosaic(smooth)) - smooth).abs()[:, 2:-2, 2:-2]
        assert error.max() < tolerance


def test_demosaic_treats_borders_as_reflected():
    rgb = random_tensor(1, 3, 12, 16)
    bayer = torch.nn.functional.pad(unpack(mosaic(rgb))[:, None], (4, 4, 4, 4), mode="reflect")[:, 0]
    torch.testing.assert_close(demosaic(pack(bayer))[..., 4:-4, 4:-4], demosaic(mosaic(rgb)))


@pytest.mark.parametrize(
    ("call", "start"),
    [
        (lambda: mosaic(torch.zeros(3, 5, 4)), "rgb: found shape (3, 5, 4)"),
        (lambda: mosaic(torch.zeros(3, 4, 7)), "rgb: found shape (3, 4, 7)"),
        (lambda: mosaic(torch.zeros(4, 4, 4)), "rgb: found shape (4, 4, 4)"),
        (lambda: pack(torch.zeros(5, 4)), "bayer: found shape (5, 4)"),
        (lambda: pack(torch.zeros(4, 5)), "bayer: found shape (4, 5)"),
        (lambda: pack(torch.zeros(4, 4), "RGBG"), "cfa: found 'RGBG'"),
        (lambda: unpack(torch.zeros(4, 4, 4), "rggb"), "cfa: found 'rggb'"),
        (lambda: unpack(torch.zeros(3, 4, 4)), "planes: found shape (3, 4, 4)"),
        (lambda: unmosaic(torch.zeros(3, 4, 4)), "planes: found shape (3, 4, 4)"),
        (lambda: demosaic(torch.zeros(3, 4, 4)), "planes: found shape (3, 4, 4)"),
        (lambda: demosaic(torch.zeros(4, 1, 4)), "planes: found 1 x 4 pixels"),
    ],
)
def test_wrong_shapes_are_named_in_one_line(call, start):
    with pytest.raises(ValueError, match="expected") as error:
        call()
    assert str(error.value).startswith(start)
    assert "\n" not in str(error.value)
