import pytest
import torch

from twostagealign.metrics import finite_psnr, load_metrics, psnr, ssim

CPU = torch.device("cpu")
IMAGE, TARGET = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Blind:
    """A metric without a reference, which is made ready for a device."""

    needs_target = False

    def load(self, device: torch.device):
        return lambda image, target: image.to(device).mean()


def test_measures_by_name() -> None:
    metrics = load_metrics({"psnr": finite_psnr, "ssim": ssim, "blind": Blind()}, CPU)
    assert [metric.name for metric in metrics] == ["psnr", "ssim", "blind"]
    found = [metric.measure(IMAGE, TARGET) for metric in metrics]
    assert found == [psnr(IMAGE, TARGET), ssim(IMAGE, TARGET), pytest.approx(IMAGE.mean().item())]
    assert [metric.measure(IMAGE, None) for metric in metrics] == [None, None, found[2]]


def test_equal_pictures_have_a_finite_psnr() -> None:
    """JSON has no infinity, and one black frame would make every mean infinite."""
    assert psnr(IMAGE, IMAGE) == float("inf")
    assert finite_psnr(IMAGE, IMAGE) == 100
