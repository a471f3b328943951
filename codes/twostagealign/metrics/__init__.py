"""Image quality metrics: PSNR and SSIM by scikit-image, learned and blind ones by pyiqa if it is installed."""

from twostagealign.metrics.named import Metric, NamedMetric, display_name, load_metrics
from twostagealign.metrics.perceptual import Pyiqa
from twostagealign.metrics.psnr import finite_psnr, psnr
from twostagealign.metrics.ssim import ssim

__all__ = ["Metric", "NamedMetric", "Pyiqa", "display_name", "finite_psnr", "load_metrics", "psnr", "ssim"]
