"""Networks and inputs for the benchmarks."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twostagealign.archs import LowResolutionFeatures, TwoStageNet
from twostagealign.data.burst import Burst, RawFrame
from twostagealign.isp import PROTOCOL_LEVELS, add_noise, noise_map, protocol_camera
from twostagealign.matching import Matcher, Search
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import find_checkpoint, open_restorer

FRAME_720P = (360, 640)
FRAME_UHD = (1080, 1920)
"""Height and width of raw planes."""


def wide_network() -> TwoStageNet:
    """Return the paper's network, nf 64, with random weights and, unlike a new network, non-zero offsets."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = TwoStageNet(nf=64, groups=8).eval().requires_grad_(False)
        for name, parameter in network.named_parameters():
            if "predictor" in name:
                nn.init.normal_(parameter, std=0.01)
    return network


def wide_restorer(search: Search | None = None) -> TwoStageRestorer:
    """Return a restorer of the paper's network and the feature net of the shipped checkpoint."""
    tiny = tiny_restorer()
    return TwoStageRestorer(wide_network(), tiny.features, Matcher(tiny.matcher.scale, search or Search())).eval()


def tiny_restorer(parts_of_paper: bool = False) -> TwoStageRestorer:
    """The shipped narrow network, nf 16; or what of it is in the paper: without search to the pixel and averages."""
    restorer = open_restorer(find_checkpoint("tiny"))
    if not parts_of_paper:
        return restorer
    network = cast(TwoStageNet, restorer.network)
    network.dense_search = network.merge = False
    return restorer.with_matcher(replace(restorer.matcher, refine=False))


def random_features(height: int, width: int) -> Tensor:
    """Return feature maps of five frames, (5, 16, height, width), in which nothing matches."""
    return torch.randn(5, 16, height, width, generator=_seeded())


def moving_features(height: int, width: int) -> Tensor:
    """Return the shipped feature net's maps of five frames of a moving texture at high noise, (5, 16, height, width).

    The texture has the spectrum of natural pictures: the same contrast in every octave (Field, "Relations between the
    statistics of natural images and the response properties of cortical cells", JOSA A 1987). It moves by 20 raw pixels
    down and 17 to the right from frame to frame.
    """
    features, generator = tiny_restorer().features, _seeded()
    height, width = LowResolutionFeatures.scale * height, LowResolutionFeatures.scale * width
    texture = torch.zeros(4, height + 80, width + 68)
    for octave in range(8):
        grid = [side // 2**octave + 2 for side in texture.shape[1:]]
        waves = F.interpolate(torch.randn(1, 4, *grid, generator=generator), scale_factor=2**octave, mode="bilinear")
        texture += waves[0, :, : height + 80, : width + 68]
    texture = 0.2 + 0.1 * texture / texture.std()
    frames = [texture[:, 20 * k : 20 * k + height, 17 * k : 17 * k + width] for k in range(5)]
    noisy = add_noise(torch.stack(frames).clamp(0, 1), *PROTOCOL_LEVELS["high"], generator)
    return torch.cat([features(frame[None]) for frame in noisy])


def burst(frames: int, height: int, width: int) -> Burst:
    """Return a burst of random raw planes, (4, height, width) each, with noise maps at high noise."""
    lq = torch.rand(frames, 4, height, width, generator=_seeded())
    noise = noise_map(lq, *PROTOCOL_LEVELS["high"])
    return Burst([RawFrame(*planes) for planes in zip(lq, noise, strict=True)], protocol_camera())


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)
