"""Shot and read noise of raw planes."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# (shot, read) noise of the test protocols.
PROTOCOL_LEVELS = {"high": (6.4e-3, 2e-2), "low": (2.5e-3, 1e-2)}


@dataclass(frozen=True)
class NoiseRange:
    """Range of the noise levels of training. The defaults are the paper's.

    Attributes:
        shot: least and largest shot noise, variance per unit of signal on the [0, 1] scale, > 0.
        read: least and largest read noise, standard deviation on the [0, 1] scale, > 0.
    """

    shot: tuple[float, float] = (1e-4, 1e-2)
    read: tuple[float, float] = (1e-3, 10**-1.5)


def random_noise_levels(
    batch: int, generator: torch.Generator, levels: NoiseRange | None = None
) -> tuple[Tensor, Tensor]:
    """Draw noise levels for training: the logarithms of shot and read noise are independent and uniform.

    Args:
        batch: number of bursts B.
        generator: source of randomness, on the CPU.
        levels: range of the levels; None: the paper's.

    Returns:
        Shot noise (variance per unit of signal) and read noise (standard deviation), each (B,), float32, on the CPU.
    """
    levels = levels or NoiseRange()

    def draw(least: float, largest: float) -> Tensor:
        low, high = math.log10(least), math.log10(largest)
        return 10 ** (low + (high - low) * torch.rand(batch, generator=generator))

    return draw(*levels.shot), draw(*levels.read)


def noise_map(raw: Tensor, shot: Tensor | float, read: Tensor | float) -> Tensor:
    """Compute the standard deviation of the noise of every pixel: sqrt(shot * raw + read^2).

    Args:
        raw: raw planes, (B, ..., 4, H, W), in [0, 1].
        shot: shot noise, (B,) or one number for all bursts.
        read: read noise, (B,) or one number for all bursts.

    Returns:
        Standard deviation, (B, ..., 4, H, W).

    Example:
        >>> noise_map(torch.tensor([0.0, 0.5]).reshape(1, 1, 1, 2), shot=0.01, read=0.02).flatten()
        tensor([0.0200, 0.0735])
    """
    variance = raw * _per_burst(shot, raw) + _per_burst(read, raw) ** 2
    # The square root has no gradient at 0.
    return variance.clamp_min(torch.finfo(raw.dtype).tiny).sqrt()


def add_noise(raw: Tensor, shot: Tensor | float, read: Tensor | float, generator: torch.Generator) -> Tensor:
    """Add shot and read noise and clamp to [0, 1].

    Args:
        raw: clean raw planes, (B, ..., 4, H, W), in [0, 1].
        shot: shot noise, (B,) or one number for all bursts.
        read: read noise, (B,) or one number for all bursts.
        generator: source of randomness, on the device of `raw`.

    Returns:
        Noisy raw planes, (B, ..., 4, H, W), in [0, 1].
    """
    normal = torch.randn(raw.shape, generator=generator, device=raw.device, dtype=raw.dtype)
    return torch.addcmul(raw, noise_map(raw, shot, read), normal).clamp(0, 1)


def protocol_noise(raw: Tensor, shot: float, read: float, frame_number: int) -> Tensor:
    """Add the noise of the test protocols, which is the same in every run and on every machine.

    Args:
        raw: clean raw planes of one frame, (4, H, W), in [0, 1].
        shot: shot noise.
        read: read noise.
        frame_number: position of the frame in its clip, from 1; seeds the noise.

    Returns:
        Noisy raw planes, (4, H, W), not clamped.
    """
    # Part of the protocol: drawn on the CPU in single precision, with the four planes of a pixel side by side.
    deviation = noise_map(raw, shot, read).permute(1, 2, 0).contiguous().to("cpu", torch.float32)
    noise = torch.normal(0.0, deviation, generator=torch.Generator().manual_seed(frame_number))
    return raw + noise.permute(2, 0, 1).to(raw)


def _per_burst(level: Tensor | float, raw: Tensor) -> Tensor | float:
    """Shape (B,) noise levels so that they broadcast over (B, ..., 4, H, W)."""
    return level.to(raw).reshape(-1, *(1,) * (raw.ndim - 1)) if isinstance(level, Tensor) else level
