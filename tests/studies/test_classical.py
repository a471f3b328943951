import pytest
import torch

from twostagealign.data import PROTOCOL_NOISE, Burst, ClipInMemory, NoiseLevel, read_burst
from twostagealign.restoration.quality import develop, measure
from twostagealign.studies.classical import demosaicked, noise_level, non_local_means


@pytest.fixture
def flat_burst() -> Burst:
    """Three frames that differ: two flat fields with an edge between them, in the reference brighter than elsewhere."""
    frames = torch.full((3, 3, 64, 80), 60, dtype=torch.uint8)
    frames[1] += 60
    frames[1, 0, :, 40:] += 50
    return read_burst(ClipInMemory("flat", frames, PROTOCOL_NOISE["high"]), range(3))


def test_demosaicked_is_the_reference_frame_developed(flat_burst: Burst) -> None:
    pictures = torch.stack([frame.clean for frame in flat_burst.frames])
    clean = read_burst(ClipInMemory("clean", pictures, NoiseLevel("none", 0.0, 0.0)), range(3))
    target = develop(flat_burst.target(), flat_burst.camera)
    found = demosaicked(clean)
    assert found.shape == (3, 64, 80)
    away = torch.ones(80, dtype=torch.bool)
    away[36:44] = False  # interpolation blurs the edge
    torch.testing.assert_close(found[..., away], target[..., away], atol=1e-4, rtol=0)


def test_noise_level_is_that_of_the_developed_picture(flat_burst: Burst) -> None:
    target = develop(flat_burst.target(), flat_burst.camera)
    true = (demosaicked(flat_burst) - target).std(dim=(1, 2))
    torch.testing.assert_close(noise_level(flat_burst), true, rtol=0.1, atol=0)
    assert true.max() > 1.5 * true.min()  # one number for all channels would not do


def test_non_local_means_removes_most_of_the_noise(flat_burst: Burst) -> None:
    target = develop(flat_burst.target(), flat_burst.camera)
    noisy = demosaicked(flat_burst)
    smoothed = non_local_means(noisy, noise_level(flat_burst))
    before, after = measure(noisy, target), measure(smoothed, target)
    assert after.psnr > before.psnr + 6
    assert after.ssim > before.ssim + 0.2
    step = smoothed[0, :, 44:].mean() - smoothed[0, :, :36].mean()
    torch.testing.assert_close(step, target[0, 0, 79] - target[0, 0, 0], atol=0.02, rtol=0)


def test_a_clean_channel_keeps_faint_detail_that_noisy_ones_hide() -> None:
    draw = torch.Generator().manual_seed(0)
    clean = torch.full((3, 48, 48), 0.5)
    clean[0] += 0.06 * torch.rand(48, 48, generator=draw)
    sigma = torch.tensor([0.005, 0.15, 0.15])
    noisy = clean + sigma[:, None, None] * torch.randn(3, 48, 48, generator=draw)
    smoothed = non_local_means(noisy, sigma)
    assert (smoothed - clean)[0].std() < 0.01  # 0.017 if the detail were smoothed away
    # And it leads the others: where it is flat, they are averaged.
    noisy[0] = 0.5
    assert (non_local_means(noisy, sigma) - clean)[1:].std() < 0.03


def test_result_stays_in_range() -> None:
    noisy = torch.ones(3, 16, 16) + 0.2 * torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    smoothed = non_local_means(noisy, torch.full((3,), 0.2))
    assert smoothed.min() >= 0
    assert smoothed.max() <= 1


@pytest.mark.parametrize("wrong", [0.0, -0.1, float("nan")])
def test_noise_must_be_positive(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"^sigma: found .*, expected positive standard deviations$"):
        non_local_means(torch.zeros(3, 8, 8), torch.tensor([0.1, wrong, 0.1]))
