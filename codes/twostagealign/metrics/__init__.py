"""Image quality metrics: PSNR and SSIM by scikit-image, LPIPS if it is installed."""

from twostagealign.metrics.perceptual import load_lpips
from twostagealign.metrics.psnr import psnr
from twostagealign.metrics.ssim import ssim

__all__ = ["load_lpips", "psnr", "ssim"]
