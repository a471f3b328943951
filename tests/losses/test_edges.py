from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.losses import edge_map

DATA = Path(__file__).parents[1] / "data"


def test_agrees_with_reference_numbers():
    golden = np.load(DATA / "losses.npz")
    edges = edge_map(torch.from_numpy(golden["prediction"]))
    np.testing.assert_allclose(edges.numpy(), golden["edge_map_of_prediction"], atol=1e-5)


def test_marks_an_edge():
    picture = torch.full((1, 3, 24, 24), 0.2)
    picture[..., 12:] = 0.8
    inside = edge_map(picture)[0, 0, 6:-6, 6:-6]
    assert torch.isin(inside.argmax(dim=1), torch.tensor([5, 6])).all()
    assert inside[:, 0].max() < 1e-5


def test_every_picture_is_stretched_by_itself():
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    both = edge_map(torch.cat([picture, 0.1 * picture]))
    torch.testing.assert_close(both[0], both[1], rtol=0, atol=1e-3)
    assert both.amin() == 0
    torch.testing.assert_close(both.amax(dim=(1, 2, 3)), torch.ones(2), rtol=0, atol=1e-3)


def test_black_picture_has_no_edges_and_no_nan():
    picture = torch.zeros(2, 3, 8, 8, requires_grad=True)
    edges = edge_map(picture)
    assert (edges == 0).all()
    (gradient,) = torch.autograd.grad(edges.sum(), picture)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 1, 8, 8), (1, 2, 3, 8, 8)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match=r"^target: found shape \(.*\), expected \(B, 3, height, width\)$"):
        edge_map(torch.zeros(shape))
