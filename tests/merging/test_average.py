"""The average of a burst: its noise, and what it must not average."""

import pytest
import torch
from torch import Tensor

from twostagealign.merging import UNKNOWN, merge_reference
from twostagealign.merging.average import DRIFT

DEVIATION = 0.05


def still_burst(number: int, side: int = 64, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy frames of a still scene, their noise map, and the clean frame."""
    draw = torch.Generator().manual_seed(seed)
    clean = torch.linspace(0.2, 0.8, side).expand(1, 1, 4, side, side)
    noise_map = torch.full((1, number, 4, side, side), DEVIATION)
    return clean + noise_map * torch.randn(noise_map.shape, generator=draw), noise_map, clean[:, 0]


@pytest.mark.parametrize("number", [2, 3, 4, 5, 9])
def test_the_noise_of_the_average_is_as_its_map_says(number: int) -> None:
    lq, noise_map, clean = still_burst(number)
    averaged, its_map = merge_reference(lq, noise_map)
    found = (averaged[:, number // 2] - clean).square().mean()
    said = its_map[:, number // 2].square().mean()
    assert found.item() == pytest.approx(said.item(), rel=0.1)
    assert found < 1.35 * DEVIATION**2 / number  # farther frames count less


def test_noise_of_every_frame_counts() -> None:
    lq, noise_map, _ = still_burst(2)
    noise_map[:, 0] *= 3  # the neighbour's
    _, its_map = merge_reference(lq, noise_map)
    weight = 1 / (1 + 2 * DRIFT)
    expected = DEVIATION * (1 + 9 * weight**2) ** 0.5 / (1 + weight)
    assert its_map[:, 1].mean().item() == pytest.approx(expected, rel=0.02)


def test_an_object_that_moves_leaves_no_ghost() -> None:
    lq, noise_map, _ = still_burst(5)
    for frame in range(5):
        left = 8 + 12 * frame
        lq[:, frame, :, 20:28, left : left + 8] += 0.5
    averaged, its_map = merge_reference(lq, noise_map)
    beside, inside = averaged[0, 2, :, 20:28, 20:28], averaged[0, 2, :, 20:28, 32:40]
    own = lq[0, 2, :, 20:28]
    assert beside.mean().item() == pytest.approx(own[..., 20:28].mean().item(), abs=0.02)
    assert inside.mean().item() == pytest.approx(own[..., 32:40].mean().item(), abs=0.02)
    # One frame shows the object there: the noise is that of one frame.
    assert its_map[0, 2, :, 20:28, 32:40].mean().item() == pytest.approx(DEVIATION, rel=0.05)


def test_other_frames_stay_and_one_frame_stays() -> None:
    lq, noise_map, _ = still_burst(4)
    averaged, its_map = merge_reference(lq, noise_map)
    assert (averaged != lq).flatten(2).any(-1).tolist() == [[False, False, True, False]]
    assert (its_map != noise_map).flatten(2).any(-1).tolist() == [[False, False, True, False]]
    alone = merge_reference(lq[:, :1], noise_map[:, :1])
    assert alone[0].equal(lq[:, :1])
    assert alone[1].equal(noise_map[:, :1])


def test_frames_without_noise() -> None:
    lq = torch.rand(1, 3, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    lq[:, 0] = lq[:, 1]
    averaged, its_map = merge_reference(lq, torch.zeros_like(lq))
    torch.testing.assert_close(averaged, lq)
    assert its_map.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype: torch.dtype) -> None:
    lq, noise_map, _ = still_burst(5)
    averaged, its_map = merge_reference(lq.to(dtype), noise_map.to(dtype))
    assert averaged.dtype == its_map.dtype == dtype
    expected, expected_map = merge_reference(lq, noise_map)
    torch.testing.assert_close(averaged.float(), expected, atol=0.01, rtol=0)
    torch.testing.assert_close(its_map.float(), expected_map, atol=0.005, rtol=0.02)


def test_what_is_unknown_does_not_count_and_gets_the_noise_of_the_average() -> None:
    lq, noise_map, _ = still_burst(4)
    alone = merge_reference(lq[:, 1:], noise_map[:, 1:])  # the reference frame is the middle one of three
    corner = (..., slice(0, 32), slice(0, 32))
    lq[:, 0][corner] = lq[:, 2][corner]  # however well it agrees
    noise_map[:, 0, 1][corner] = UNKNOWN  # in one plane
    averaged, its_map = merge_reference(lq, noise_map)
    inside = (..., slice(0, 30), slice(0, 30))
    for result, expected in zip((averaged, its_map), alone, strict=True):
        # With one neighbour more, neighbours have to agree better with the reference; here, all of them do.
        torch.testing.assert_close(result[:, 2][inside], expected[:, 1][inside], rtol=0, atol=0.02)
    assert torch.equal(averaged[:, 0], lq[:, 0])
    assert torch.equal(its_map[:, 0][corner], its_map[:, 2][corner])
    assert its_map[0, 2, 0, 16, 16].item() == pytest.approx(DEVIATION / 3**0.5, rel=0.1)
    assert its_map[0, 2, 0, 48, 48].item() == pytest.approx(DEVIATION / 4**0.5, rel=0.1)


def test_frames_that_are_farther_away_count_less() -> None:
    """Alignment drifts, by less than noise shows: a step in the outermost frame moves the average less."""
    lq, noise_map, _ = still_burst(9)
    averages = []
    for frame in (3, 0):
        changed = lq.clone()
        changed[:, frame] += 0.2 * DEVIATION
        averages.append(
            merge_reference(changed, noise_map)[0][:, 4].mean() - merge_reference(lq, noise_map)[0][:, 4].mean()
        )
    nearest, farthest = (average.item() for average in averages)
    # 16 is the strictness of nine frames.
    assert farthest / nearest == pytest.approx((1 + 16 * DRIFT) / (1 + 16 * 4 * DRIFT), rel=0.15)
