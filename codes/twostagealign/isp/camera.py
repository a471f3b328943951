"""Camera metadata of a burst: colour matrix and gains."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

# XYZ -> camera colour matrices of four cameras, and linear sRGB -> XYZ (D65); Brooks et al., CVPR 2019.
_XYZ2CAM = torch.tensor(
    [
        [[1.0234, -0.2969, -0.2266], [-0.5625, 1.6328, -0.0469], [-0.0703, 0.2188, 0.6406]],
        [[0.4913, -0.0541, -0.0202], [-0.613, 1.3513, 0.2906], [-0.1564, 0.2151, 0.7183]],
        [[0.838, -0.263, -0.0639], [-0.2887, 1.0725, 0.2496], [-0.0627, 0.1427, 0.5438]],
        [[0.6596, -0.2079, -0.0562], [-0.4782, 1.3016, 0.1933], [-0.097, 0.1581, 0.5181]],
    ]
)
_RGB2XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


@dataclass(frozen=True, eq=False)
class Camera:
    """Camera metadata of B bursts.

    Attributes:
        rgb2cam: linear sRGB -> camera RGB, (B, 3, 3), rows sum to 1.
        red_gain: white-balance gain of red over green, (B,).
        blue_gain: white-balance gain of blue over green, (B,).
        rgb_gain: overall brightness gain, (B,).
    """

    rgb2cam: Tensor
    red_gain: Tensor
    blue_gain: Tensor
    rgb_gain: Tensor

    @property
    def cam2rgb(self) -> Tensor:
        """Camera RGB -> linear sRGB, (B, 3, 3)."""
        # Unlike inv, inv_ex does not synchronise to report singular matrices. Half precision has no inverse.
        matrix = self.rgb2cam.to(torch.promote_types(self.rgb2cam.dtype, torch.float32))
        return torch.linalg.inv_ex(matrix).inverse.to(self.rgb2cam.dtype)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "Camera":
        """Move and convert all tensors.

        Args:
            device: target device; None keeps the current one.
            dtype: target floating-point type; None keeps the current one.

        Returns:
            Converted copy.
        """
        return Camera(*(getattr(self, field.name).to(device=device, dtype=dtype) for field in fields(self)))

    def __len__(self) -> int:
        return len(self.rgb2cam)

    def __getitem__(self, index: int | slice | Tensor) -> "Camera":
        """Select bursts; a single index keeps the batch axis."""
        picked = [index] if isinstance(index, int) else index
        return Camera(*(getattr(self, field.name)[picked] for field in fields(self)))


def join_cameras(cameras: Sequence[Camera]) -> Camera:
    """Concatenate the metadata of several batches."""
    return Camera(*(torch.cat([getattr(camera, field.name) for camera in cameras]) for field in fields(Camera)))


def random_camera(batch: int, generator: torch.Generator) -> Camera:
    """Draw random metadata for training.

    The colour matrix is a convex mix of four real cameras with uniform weights; 1 / rgb_gain ~ Normal(0.8, 0.1),
    red_gain ~ U(1.9, 2.4), blue_gain ~ U(1.5, 1.9).

    Args:
        batch: number of bursts B.
        generator: source of randomness, on the CPU.

    Returns:
        Metadata of B bursts, float32, on the CPU.

    Source:
        Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, section 3.

    Example:
        >>> camera = random_camera(2, torch.Generator().manual_seed(0))
        >>> camera.rgb2cam.shape, len(camera[0])
        (torch.Size([2, 3, 3]), 1)
    """
    weights = torch.rand(batch, 4, generator=generator)
    weights = weights / weights.sum(dim=1, keepdim=True)
    return Camera(
        rgb2cam=rgb2cam_from_xyz2cam(torch.einsum("bk,kij->bij", weights, _XYZ2CAM)),
        red_gain=1.9 + 0.5 * torch.rand(batch, generator=generator),
        blue_gain=1.5 + 0.4 * torch.rand(batch, generator=generator),
        rgb_gain=1 / (0.8 + 0.1 * torch.randn(batch, generator=generator)),
    )


def protocol_camera(batch: int = 1) -> Camera:
    """Return the metadata of the test protocols: first camera's matrix, red gain 2.0, blue gain 1.7, rgb_gain 1.0.

    Args:
        batch: number of bursts B.

    Returns:
        The same metadata for each of B bursts, float32, on the CPU.

    Example:
        >>> protocol_camera().red_gain
        tensor([2.])
    """
    return Camera(
        rgb2cam=rgb2cam_from_xyz2cam(_XYZ2CAM[:1]).repeat(batch, 1, 1),
        red_gain=torch.full((batch,), 2.0),
        blue_gain=torch.full((batch,), 1.7),
        rgb_gain=torch.ones(batch),
    )


def xyz2cam(camera: Camera) -> Tensor:
    """Return the matrices from XYZ to camera RGB as the sensor records it, before white balance.

    Args:
        camera: metadata of B bursts.

    Returns:
        XYZ (D65) -> camera RGB, (B, 3, 3), the ColorMatrix of a DNG. Its response to white is 1 / gain.

    Example:
        >>> camera = protocol_camera()
        >>> torch.allclose(rgb2cam_from_xyz2cam(xyz2cam(camera)), camera.rgb2cam, atol=1e-6)
        True
    """
    neutral = 1 / torch.stack((camera.red_gain, torch.ones_like(camera.red_gain), camera.blue_gain), dim=-1)
    return neutral[:, :, None] * camera.rgb2cam @ torch.linalg.inv(_RGB2XYZ.to(camera.rgb2cam))


def rgb2cam_from_xyz2cam(xyz2cam: Tensor) -> Tensor:
    """Convert the colour matrix of a raw file to the one that unprocessing needs.

    Args:
        xyz2cam: XYZ -> camera RGB, (B, 3, 3), the ColorMatrix of a DNG.

    Returns:
        Linear sRGB -> camera RGB, (B, 3, 3); rows sum to 1, so that white stays white.
    """
    matrix = xyz2cam @ _RGB2XYZ
    return matrix / matrix.sum(dim=-1, keepdim=True)
