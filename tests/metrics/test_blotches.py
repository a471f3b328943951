import torch
from torch.nn import functional as F

from twostagealign.metrics import chroma_error

DRAW = torch.Generator().manual_seed(0)
EVEN = 0.5 + 0.2 * torch.rand(3, 1, 1, generator=DRAW).expand(3, 64, 64)
NOISE = 0.1 * torch.randn(3, 64, 64, generator=DRAW)
BLOTCHES = F.interpolate(0.1 * torch.randn(1, 3, 8, 8, generator=DRAW), size=64, mode="bilinear")[0]


def test_blotches_of_colour_count_and_brightness_and_grain_do_not() -> None:
    blotches = chroma_error(EVEN + BLOTCHES, EVEN)
    assert 2 < blotches < 25
    assert chroma_error(EVEN + BLOTCHES / 2, EVEN) < 0.6 * blotches
    assert chroma_error(EVEN + BLOTCHES.mean(0), EVEN) < 0.01 * blotches
    assert chroma_error(EVEN + NOISE, EVEN) < 0.35 * blotches
    assert chroma_error(EVEN, EVEN) == 0


def test_only_even_areas_count() -> None:
    busy = EVEN.clone()
    busy[:, :, 16:] += (torch.arange(48) % 2) * 0.3
    wrong = torch.zeros(3, 64, 64)
    wrong[0, :, 40:] = 0.2
    assert chroma_error(busy + wrong, busy) < 0.01
    assert chroma_error(busy + wrong.flip(-1), busy) > 5
