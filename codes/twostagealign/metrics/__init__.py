"""Image quality metrics: PSNR, SSIM, blotches and fine texture; learned and blind ones by pyiqa if it is installed."""

from twostagealign.metrics.blotches import chroma_error
from twostagealign.metrics.named import Metric, NamedMetric, display_name, load_metrics
from twostagealign.metrics.perceptual import Pyiqa
from twostagealign.metrics.psnr import finite_psnr, psnr
from twostagealign.metrics.ssim import ssim
from twostagealign.metrics.texture import texture_correlation, texture_ratio

__all__ = [
    "Metric",
    "NamedMetric",
    "Pyiqa",
    "chroma_error",
    "display_name",
    "finite_psnr",
    "load_metrics",
    "psnr",
    "ssim",
    "texture_correlation",
    "texture_ratio",
]
