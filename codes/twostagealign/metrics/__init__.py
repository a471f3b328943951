"""Image quality metrics, computed by scikit-image."""

from .psnr import psnr
from .ssim import ssim

__all__ = ["psnr", "ssim"]
