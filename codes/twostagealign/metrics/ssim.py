"""Structural similarity."""

from skimage import metrics
from torch import Tensor

from twostagealign.metrics.images import check_images, to_arrays

# Side of scikit-image's Gaussian window for sigma 1.5.
_WINDOW = 11

# Rows of windows processed at a time: a whole UHD picture would take over a gigabyte.
_BAND = 256


def ssim(image: Tensor, target: Tensor, data_range: float = 1.0) -> float:
    """Compute the structural similarity, averaged over pixels and channels.

    Gaussian window of sigma 1.5, biased covariances, as in the paper of Wang et al.

    Args:
        image: restored sRGB, (3, H, W), at least 11 x 11, used without rounding or clamping.
        target: ground truth, same shape.
        data_range: largest possible value minus smallest: 1.0, or 255.0 for images in [0, 255].

    Returns:
        SSIM, at most 1.

    Raises:
        ValueError: the shapes differ, are not (3, H, W) or are too small.

    Source:
        Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004.

    Example:
        >>> import torch
        >>> ramp = torch.linspace(0, 1, 256).reshape(1, 16, 16).expand(3, -1, -1)
        >>> ssim(ramp, ramp)
        1.0
    """
    check_images(image, target)
    height, width = image.shape[1:]
    if min(height, width) < _WINDOW:
        raise ValueError(f"image: found {height} x {width} pixels, expected at least {_WINDOW} x {_WINDOW}")
    # Mean over all windows that lie inside the picture.
    reach = _WINDOW // 2
    total = 0.0
    for top in range(reach, height - reach, _BAND):
        rows = slice(top - reach, min(top + _BAND, height - reach) + reach)
        restored, truth = to_arrays(image[:, rows], target[:, rows])
        _, similarity = metrics.structural_similarity(
            truth,
            restored,
            data_range=data_range,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            full=True,
        )
        total += similarity[:, reach:-reach, reach:-reach].sum()
    return float(total / (3 * (height - 2 * reach) * (width - 2 * reach)))
