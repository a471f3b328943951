"""What can be done without a network, from the reference frame alone."""

import torch
from skimage.restoration import denoise_nl_means
from torch import Tensor

from twostagealign.data import Burst
from twostagealign.isp import demosaic
from twostagealign.restoration.quality import develop

# Settings of scikit-image's `denoise_nl_means`: the side of the patches that are compared, how far apart they may lie,
# and the cut-off distance in units of the noise. Chosen on a 1280x720 street scene at both noise levels of the test
# protocol (27.7 and 29.2 dB). At high noise, patches of 3 or 7 pixels lose 0.4 dB; a search twice as long gains 0.1 dB.
PATCH_SIZE = 5
PATCH_DISTANCE = 7
CUT_OFF = 0.9


def demosaicked(burst: Burst) -> Tensor:
    """Interpolate the reference frame to full colour and develop it.

    Args:
        burst: the frames; only the reference frame is used.

    Returns:
        sRGB, (3, 2H, 2W), in [0, 1], on the CPU, as noisy as the frame.
    """
    return develop(demosaic(burst.reference.raw()), burst.camera)


def denoised(burst: Burst) -> Tensor:
    """Interpolate the reference frame to full colour, develop it and denoise it by non-local means.

    Args:
        burst: the frames; only the reference frame is used.

    Returns:
        sRGB, (3, 2H, 2W), in [0, 1], on the CPU.
    """
    return non_local_means(demosaicked(burst), noise_level(burst))


def noise_level(burst: Burst, seed: int = 0) -> Tensor:
    """Find how strong the noise of the reference frame is in `demosaicked`, by adding as much once more.

    The noise map says it for the raw samples; interpolation, white balance, colour matrix and gamma change it from
    channel to channel.

    Args:
        burst: the frames; only the reference frame is used.
        seed: of the noise that is added.

    Returns:
        Standard deviation per channel, (3,), on the CPU.
    """
    raw, deviation = (planes.cpu() for planes in burst.reference.read())
    added = deviation * torch.randn(raw.shape, generator=torch.Generator().manual_seed(seed))
    return (develop(demosaic(raw + added), burst.camera) - demosaicked(burst)).std(dim=(1, 2))


def non_local_means(srgb: Tensor, sigma: Tensor) -> Tensor:
    """Denoise a picture by averaging pixels whose surroundings look alike.

    Args:
        srgb: noisy sRGB, (3, height, width), in [0, 1], on the CPU.
        sigma: standard deviation of the noise per channel, (3,), positive.

    Returns:
        Denoised sRGB, (3, height, width), in [0, 1].

    Raises:
        ValueError: if a standard deviation is not positive.

    Source:
        Buades, Coll, Morel, "A non-local algorithm for image denoising", CVPR 2005; Darbon et al., "Fast nonlocal
        filtering applied to electron cryomicroscopy", ISBI 2008.
    """
    if not (sigma > 0).all():
        raise ValueError(f"sigma: found {sigma.tolist()}, expected positive standard deviations")
    # In units of each channel's noise, so that a clean channel says more about likeness than a noisy one.
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
