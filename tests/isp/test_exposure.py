import numpy as np
import pytest
import torch
from torch import Tensor

from twostagealign.data import PROTOCOL_NOISE, bundled_picture
from twostagealign.isp import (
    add_noise,
    exposure_ratio,
    mosaic,
    noise_map,
    overview,
    overview_block,
    protocol_camera,
    unprocess,
)

NOISE = PROTOCOL_NOISE["high"]


def view(picture: np.ndarray, exposure: float = 1.0, seed: int = 0) -> Tensor:
    """Overview of a noisy raw frame that shows a picture."""
    srgb = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    clean = mosaic(unprocess(srgb, protocol_camera())) * exposure
    noisy = add_noise(clean.clamp(0, 1), NOISE.shot, NOISE.read, torch.Generator().manual_seed(seed))
    return whole_overview(noisy[0], noise_map(noisy, NOISE.shot, NOISE.read)[0])


def whole_overview(planes: Tensor, noise: Tensor) -> Tensor:
    return overview(planes, noise, overview_block((planes.shape[1], planes.shape[2])))


CAT = bundled_picture("chelsea")
HERE, MOVED = CAT[:240, :360], CAT[12:252, 24:384]


@pytest.mark.parametrize("exposure", [0.25, 0.5, 2.0, 4.0])
def test_ratio_is_found_through_noise_clipping_and_motion(exposure) -> None:
    assert exposure_ratio(view(HERE), view(MOVED, exposure, seed=1)) == pytest.approx(exposure, rel=0.05)


@pytest.mark.parametrize("exposure", [0.95, 1.0, 1.05])
def test_small_changes_of_light_are_no_other_exposure(exposure) -> None:
    assert exposure_ratio(view(HERE), view(MOVED, exposure, seed=1)) == 1


def test_another_scene_has_no_ratio() -> None:
    assert exposure_ratio(view(HERE), view(bundled_picture("coffee")[:240, :360], 2.0)) is None


def test_frames_without_well_exposed_samples_have_no_ratio() -> None:
    assert exposure_ratio(view(HERE), torch.full_like(view(HERE), torch.nan)) is None


def test_overview_is_small_and_leaves_out_what_is_clipped_or_dark() -> None:
    planes, noise = torch.full((4, 100, 150), 0.3), torch.full((4, 100, 150), 0.1)
    planes[:, :50, :75] = 1.0
    planes[:, 50:, :75] = 0.01
    found = whole_overview(planes, noise)
    assert max(found.shape) <= 64
    assert found[:, -1] == pytest.approx(0.3)
    assert found[:10, :10].isnan().all()
    assert found[-10:, :10].isnan().all()
