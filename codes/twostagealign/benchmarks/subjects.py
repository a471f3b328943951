"""What is measured: networks of the paper's width and of the shipped checkpoint's, and bursts for them."""

import torch
from torch import Tensor, nn

from twostagealign.archs import LowResolutionFeatures, TwoStageNet
from twostagealign.engine.checkpoint import find_checkpoint, open_restorer
from twostagealign.isp import PROTOCOL_LEVELS, noise_map
from twostagealign.models import TwoStageRestorer

FRAME_720P = (360, 640)
FRAME_UHD = (1080, 1920)
"""Height and width of raw planes."""


def wide_network() -> TwoStageNet:
    """The paper's network, nf 64, with random weights; unlike in a fresh network, the offsets are not 0."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TwoStageNet(nf=64, groups=8).eval().requires_grad_(False)
        for name, parameter in network.named_parameters():
            if "predictor" in name:
                nn.init.normal_(parameter, std=0.01)
    return network


def wide_restorer() -> TwoStageRestorer:
    """The paper's network with the feature net of the shipped checkpoint."""
    return TwoStageRestorer(wide_network(), tiny_restorer().features).eval()


def tiny_restorer() -> TwoStageRestorer:
    """The shipped narrow network, nf 16."""
    return open_restorer(find_checkpoint("tiny")).requires_grad_(False)


def feature_maps(height: int, width: int) -> Tensor:
    """Random maps to match, as many and as large as those of five frames of this size, (5, 16, height, width)."""
    return torch.randn(5, LowResolutionFeatures().layers[0].out_channels, height, width, generator=_seeded())


def burst(frames: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Raw planes of random numbers and their noise maps at high noise, (frames, 4, height, width) each."""
    lq = torch.rand(frames, 4, height, width, generator=_seeded())
    return lq, noise_map(lq[None], *PROTOCOL_LEVELS["high"])[0]


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
