"""LPIPS, if its package and weights are installed."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor


def load_lpips(device: torch.device) -> Callable[[Tensor, Tensor], float] | None:
    """Load the learned perceptual metric with AlexNet, if it needs no download.

    Args:
        device: where to compute the metric.

    Returns:
        A function of two pictures, sRGB (3, H, W) in [0, 1], that returns LPIPS (0: identical). None if the package
        `lpips` is not installed, or AlexNet's weights are not in PyTorch's cache.

    Source:
        Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
    """
    try:
        import lpips
    except ImportError:
        return None
    if not list((Path(torch.hub.get_dir()) / "checkpoints").glob("alexnet-*.pth")):
        return None
    model = lpips.LPIPS(net="alex", verbose=False).eval().to(device)

    @torch.inference_mode()
    def measure(image: Tensor, target: Tensor) -> float:
        return float(model(*(2 * x[None].to(device) - 1 for x in (image, target))))

    return measure
