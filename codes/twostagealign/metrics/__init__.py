"""Image quality metrics: PSNR and SSIM by scikit-image, LPIPS where it is installed."""

from .perceptual import load_lpips
from .psnr import psnr
from .ssim import ssim

__all__ = ["load_lpips", "psnr", "ssim"]
