import pytest
import torch
from torch import nn
from torch.nn import functional as F

from twostagealign.archs import KPN
from twostagealign.archs.kpn import apply_kernels
from twostagealign.isp import demosaic


@pytest.fixture(autouse=True)
def same_random_numbers_every_time() -> None:
    torch.manual_seed(0)


def test_each_pixel_is_filtered_by_its_own_kernel() -> None:
    planes, kernels = torch.rand(1, 2, 4, 6, 5), torch.rand(1, 2, 4, 25, 6, 5)
    filtered = apply_kernels(planes, kernels)
    padded = F.pad(planes, (2, 2, 2, 2, 0, 0), mode="replicate")
    for frame, plane, y, x in ((0, 0, 0, 0), (0, 3, 5, 4), (1, 2, 3, 1)):
        window = padded[0, frame, plane, y : y + 5, x : x + 5].flatten()
        expected = (window * kernels[0, frame, plane, :, y, x]).sum()
        torch.testing.assert_close(filtered[0, frame, plane, y, x], expected)


def test_equal_kernels_are_a_convolution() -> None:
    planes, kernel = torch.rand(1, 1, 4, 8, 8), torch.rand(25)
    filtered = apply_kernels(planes, kernel.view(1, 1, 1, 25, 1, 1).expand(1, 1, 4, 25, 8, 8))
    padded = F.pad(planes[0], (2, 2, 2, 2), mode="replicate")
    expected = F.conv2d(padded.transpose(0, 1), kernel.view(1, 1, 5, 5)).transpose(0, 1)
    torch.testing.assert_close(filtered[0], expected)


@torch.no_grad()
def test_training_starts_with_the_demosaicked_average() -> None:
    lq = torch.rand(2, 3, 4, 16, 16)
    torch.testing.assert_close(KPN(nf=8, frames=3)(lq, lq), demosaic(lq.mean(dim=1)))


@torch.no_grad()
def test_pictures_of_the_frames_follow_in_training_and_average_to_the_result() -> None:
    net = KPN(nf=8, frames=3, per_frame=True)
    nn.init.normal_(net.kernels.weight, std=0.1)
    lq, noise_map = torch.rand(2, 2, 3, 4, 7, 9)
    main, *frames = net.train()(lq, noise_map).split(2)
    assert len(frames) == 3
    torch.testing.assert_close(torch.stack(frames).mean(dim=0), main)
    assert (frames[0] - frames[1]).abs().max() > 0.01
    changed = lq.clone()
    changed[:, 1] = 0
    assert torch.equal(net.eval()(lq, noise_map), main)


@torch.no_grad()
def test_pictures_keep_their_precision_under_autocast() -> None:
    lq = torch.rand(1, 3, 4, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        picture = KPN(nf=8, frames=3)(lq, lq)
    torch.testing.assert_close(picture, demosaic(lq.mean(dim=1)))
