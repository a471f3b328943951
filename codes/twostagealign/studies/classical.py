"""Classical restoration of the reference frame: demosaicking and non-local means."""

import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor

from twostagealign.data import Burst
from twostagealign.isp import demosaic
from twostagealign.restoration.quality import develop

# Settings of scikit-image's `denoise_nl_means`: side of the compared patches, largest distance between them, cut-off in
# units of the noise. Chosen on a 1280x720 street scene at both noise levels of the test protocol (27.7 and 29.2 dB).
# At high noise, patches of 3 or 7 pixels lose 0.4 dB; twice the search distance gains 0.1 dB.
PATCH_SIZE = 5
PATCH_DISTANCE = 7
CUT_OFF = 0.9


def demosaicked(burst: Burst) -> Tensor:
    """Demosaic the reference frame of a burst and develop it: noisy sRGB in [0, 1], (3, 2H, 2W), on the CPU."""
    return develop(demosaic(burst.reference.raw()), burst.camera)


def denoised(burst: Burst) -> Tensor:
    """Denoise what `demosaicked` returns by non-local means."""
    return non_local_means(demosaicked(burst), noise_level(burst))


def noise_level(burst: Burst, seed: int = 0) -> Tensor:
    """Measure the noise in the result of `demosaicked`, by adding the same amount of noise to the frame again.

    The noise map holds for the raw samples. Demosaicking, white balance, colour matrix and gamma change the noise of
    each channel.

    Args:
        burst: burst, of which only the reference frame is used.
        seed: seed of the added noise.

    Returns:
        Standard deviation per channel, (3,), on the CPU.
    """
    raw, deviation = (planes.cpu() for planes in burst.reference.read())
    added = deviation * torch.randn(raw.shape, generator=torch.Generator().manual_seed(seed))
    return (develop(demosaic(raw + added), burst.camera) - demosaicked(burst)).std(dim=(1, 2))


def non_local_means(srgb: Tensor, sigma: Tensor) -> Tensor:
    """Denoise a picture by averaging pixels with similar surroundings.

    Args:
        srgb: noisy sRGB, (3, height, width), in [0, 1], on the CPU.
        sigma: standard deviation of the noise per channel, (3,), positive.

    Raises:
        ValueError: a standard deviation is not positive.

    Source:
        Buades, Coll, Morel, "A non-local algorithm for image denoising", CVPR 2005; Darbon et al., "Fast nonlocal
        filtering applied to electron cryomicroscopy", ISBI 2008.
    """
    if not (sigma > 0).all():
        raise ValueError(f"sigma: found {sigma.tolist()}, expected positive standard deviations")
    # Units of each channel's noise give clean channels more weight in the similarity than noisy ones.
    scale = sigma[:, None, None]
    denoised = denoise_nl_means(
        (srgb / scale).permute(1, 2, 0).numpy(),
        patch_size=PATCH_SIZE,
        patch_distance=PATCH_DISTANCE,
        h=CUT_OFF,
        sigma=1.0,
        preserve_range=True,
        channel_axis=-1,
    )
    return (torch.from_numpy(denoised).permute(2, 0, 1) * scale).clamp(0, 1)
