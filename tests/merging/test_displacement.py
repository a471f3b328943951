"""Dense alignment: displacements to fractions of a pixel, and the noise of what was displaced."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from twostagealign.merging import UNKNOWN, align_to_reference, displace, find_displacements, merge_reference
from twostagealign.studies.benchmarks.operations import OperationTimes

DEVIATION = 0.01


def texture(height: int, width: int, shift: tuple[float, float] = (0.0, 0.0), seed: int = 0) -> Tensor:
    """Smooth random waves, (1, 1, 4, height, width), whose contents lie `shift` [y, x] further."""
    draw = torch.Generator().manual_seed(seed)
    y, x = torch.arange(height)[:, None] - shift[0], torch.arange(width) - shift[1]
    waves = (torch.rand(60, 2, generator=draw) - 0.5) * 1.6
    phases = 6.3 * torch.rand(60, generator=draw)
    picture = sum(torch.sin(a * y + b * x + phase) for (a, b), phase in zip(waves.tolist(), phases, strict=True))
    return (0.5 + 0.02 * picture).expand(1, 1, 4, height, width)


def with_noise(clean: Tensor, seed: int = 1) -> tuple[Tensor, Tensor]:
    noise_map = torch.full_like(clean, DEVIATION)
    return clean + noise_map * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)), noise_map


@pytest.mark.parametrize("shift", [(0.0, 0.0), (1.0, -2.0), (0.5, 0.25), (-1.3, 0.7)])
@pytest.mark.parametrize("size", [(48, 64), (45, 51)])
def test_displacements_are_found(shift: tuple[float, float], size: tuple[int, int]) -> None:
    lq, noise_map = with_noise(torch.cat((texture(*size, shift), texture(*size)), dim=1))
    found = find_displacements(lq, noise_map.square())
    assert found.shape == (1, 2, 2, *size)
    errors = found[0, 0, :, 4:-4, 4:-4] - torch.tensor(shift)[:, None, None]
    assert errors.abs().mean() < 0.15


def test_faint_texture_in_noise_moves_as_one() -> None:
    """Small windows of it fit best where their noise is alike; large ones know where it lies."""
    shift = (0.4, -1.3)
    clean = 0.5 + 0.1 * (torch.cat((texture(72, 72, shift), texture(72, 72)), dim=1) - 0.5)
    lq, noise_map = with_noise(clean, seed=2)
    errors = find_displacements(lq, noise_map.square())[0, 0] - torch.tensor(shift)[:, None, None]
    assert errors.square().mean().sqrt() < 0.2


def test_an_object_keeps_its_own_motion() -> None:
    lq, noise_map = with_noise(torch.cat((texture(72, 72, (1.0, 1.0)), texture(72, 72)), dim=1))
    inside = (slice(24, 48), slice(24, 48))
    lq[0, 0][:, *inside] = with_noise(texture(72, 72, (-1.0, 0.5)), seed=3)[0][0, 0][:, *inside]
    found = find_displacements(lq, noise_map.square())[0, 0]
    assert (found[:, 30:42, 30:42] - torch.tensor([-1.0, 0.5])[:, None, None]).abs().mean() < 0.2
    assert (found[:, :12] - 1.0).abs().mean() < 0.1


def test_fractions_of_edges() -> None:
    """Squared differences of edges grow like the distance, not like its square."""
    bars = (torch.arange(-1, 72) // 12 % 2).float().expand(1, 1, 4, 72, 73)
    shifted = 0.7 * bars[..., 1:] + 0.3 * bars[..., :-1]  # the pixels at their edges are mixed
    lq, noise_map = with_noise(0.25 + 0.5 * torch.cat((shifted, bars[..., 1:]), dim=1))
    found = find_displacements(lq, noise_map.square())[0, 0, 1, 8:-8, 8:-8]
    assert found.mean().item() == pytest.approx(0.3, abs=0.06)


def test_the_reference_stays_and_neighbours_come_to_it() -> None:
    clean = torch.cat((texture(48, 48, (1.4, 0.0)), texture(48, 48), texture(48, 48, (-0.6, 1.8))), dim=1)
    lq, noise_map = with_noise(clean)
    aligned, its_map = align_to_reference(lq, noise_map)
    assert aligned[:, 1].equal(lq[:, 1])
    assert its_map[:, 1].equal(noise_map[:, 1])
    inside = (..., slice(4, -4), slice(4, -4))
    for frame in (0, 2):
        before = (lq[:, frame] - clean[:, 1])[inside].square().mean()
        after = (aligned[:, frame] - clean[:, 1])[inside].square().mean()
        assert after < 2 * DEVIATION**2 < before / 4


def test_the_map_of_displaced_noise() -> None:
    noise, noise_map = with_noise(torch.zeros(1, 2, 4, 64, 64))
    halfway = torch.tensor([0.5, 0.25])[:, None, None].expand(1, 2, 2, 64, 64)
    moved, variances = displace(noise, noise_map.square(), halfway)
    expected = moved.square().mean().item()
    assert variances.mean().item() == pytest.approx(expected, rel=0.05)
    assert expected < 0.4 * DEVIATION**2


def test_the_average_of_aligned_frames_is_as_noisy_as_its_map_says() -> None:
    lq, noise_map = with_noise(texture(64, 64).expand(1, 5, 4, 64, 64).contiguous())
    averaged, its_map = merge_reference(*align_to_reference(lq, noise_map))
    found = (averaged[:, 2] - texture(64, 64)[:, 0]).square().mean().item()
    assert found == pytest.approx(its_map[:, 2].square().mean().item(), rel=0.25)
    assert found < 0.3 * DEVIATION**2


def test_flat_areas_stay_where_they_are() -> None:
    """Noise must not choose displacements, which would favour frames whose noise is like that of the reference."""
    lq, noise_map = with_noise(torch.full((1, 5, 4, 64, 64), 0.5))
    averaged, its_map = merge_reference(*align_to_reference(lq, noise_map))
    found = (averaged[:, 2] - 0.5).square().mean().item()
    assert found == pytest.approx(its_map[:, 2].square().mean().item(), rel=0.4)
    assert found < 0.25 * DEVIATION**2


def test_one_frame_stays() -> None:
    lq, noise_map = with_noise(texture(16, 16))
    aligned, its_map = align_to_reference(lq, noise_map)
    assert aligned.equal(lq)
    assert its_map.equal(noise_map)


def test_bursts_do_not_depend_on_their_batch() -> None:
    lq, noise_map = with_noise(torch.cat((texture(24, 24, (0.7, 0)), texture(24, 24)), dim=1))
    others = torch.cat((F.pad(lq, (1, 0))[..., :-1], lq))
    together, _ = align_to_reference(others, noise_map.expand(2, -1, -1, -1, -1).contiguous())
    torch.testing.assert_close(together[1:], align_to_reference(lq, noise_map)[0])


def test_nothing_is_copied_to_the_device() -> None:
    """A CUDA graph cannot record the copy of a list of numbers."""
    lq, noise_map = with_noise(texture(16, 16).expand(1, 3, 4, 16, 16))
    with OperationTimes() as operations:
        merge_reference(*align_to_reference(lq, noise_map))
    assert "grid_sampler_2d" in operations.times
    assert "lift_fresh" not in operations.times  # made by torch.tensor


def test_what_has_no_noise_and_no_content_stays_finite() -> None:
    """Patches that reach beyond a frame are filled with zeros, their noise maps too."""
    lq, noise_map = with_noise(texture(32, 32).expand(1, 3, 4, 32, 32))
    lq[..., 20:], noise_map[..., 20:] = 0, 0
    aligned = align_to_reference(lq, noise_map)
    merged = merge_reference(*aligned)
    assert all(planes.isfinite().all() for planes in (*aligned, *merged))
    assert (merged[0][..., 24:] == 0).all()


def test_what_is_unknown_is_not_compared_and_stays_unknown() -> None:
    shift = (1.0, -1.5)
    lq, noise_map = with_noise(torch.cat((texture(48, 64, shift), texture(48, 64)), dim=1))
    known = find_displacements(lq, noise_map.square())[0, 0]
    lq[..., :20, :] = 0.5 + 10 * (lq[:, 1:, ..., :20, :] - 0.5)  # agrees at rest, and contrasts
    noise_map[:, 0, 2, :20] = UNKNOWN
    found = find_displacements(lq, noise_map.square())[0, 0]
    torch.testing.assert_close(found[:, 36:], known[:, 36:], atol=0.05, rtol=0)
    beside = found[:, 22:36, 4:-4] - torch.tensor(shift)[:, None, None]
    assert beside.abs().mean() < 0.25
    its_map = align_to_reference(lq, noise_map)[1][0, 0]
    is_unknown = its_map >= UNKNOWN
    assert is_unknown[:, :16].all()
    assert not is_unknown[:, 24:].any()
    assert (is_unknown == is_unknown[:1]).all()  # in all planes
