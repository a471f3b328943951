"""Linear DNG files as LibRaw reads them."""

from pathlib import Path

import numpy as np
import pytest
import rawpy
import tifffile
import torch

from twostagealign.data.camera.dng_file import write_linear_dng
from twostagealign.isp import Camera, protocol_camera, random_camera


@pytest.fixture
def linear() -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.05, 1.05, (41, 63, 3)).astype(np.float32)


@pytest.mark.parametrize(
    "camera", [protocol_camera(), random_camera(1, torch.Generator().manual_seed(0))], ids=["protocol", "random"]
)
def test_libraw_reads_samples_and_colours(tmp_path: Path, linear: np.ndarray, camera: Camera) -> None:
    path = tmp_path / "picture.dng"
    write_linear_dng(path, linear, camera)
    with rawpy.imread(str(path)) as raw:
        stored = raw.raw_image_visible[..., :3]
        assert stored.shape == linear.shape
        assert np.abs(stored / 65535 - linear.clip(0, 1)).max() <= 0.51 / 65535
        assert (raw.white_level, max(raw.black_level_per_channel)) == (65535, 0)
        red, green, blue, _ = raw.camera_whitebalance
        rgb2cam = np.linalg.inv(raw.color_matrix[:, :3])
    assert (red / green, blue / green) == pytest.approx((camera.red_gain.item(), camera.blue_gain.item()), rel=1e-5)
    assert rgb2cam == pytest.approx(camera.rgb2cam[0].numpy(), abs=1e-5)


def test_tags_that_converters_need(tmp_path: Path, linear: np.ndarray) -> None:
    camera = protocol_camera()
    path = tmp_path / "picture.dng"
    write_linear_dng(path, linear, Camera(camera.rgb2cam, camera.red_gain / 4, camera.blue_gain, camera.rgb_gain * 2))
    with tifffile.TiffFile(path) as file:
        (page,) = file.pages
        tags = {tag.name: tag.value for tag in page.tags}
    assert tuple(tags["DNGVersion"]) == (1, 4, 0, 0)
    assert tags["BaselineExposure"] == (1_000_000, 1_000_000)  # one stop
    (neutral, matrix) = (np.divide(*np.reshape(tags[name], (-1, 2)).T) for name in ("AsShotNeutral", "ColorMatrix1"))
    assert neutral == pytest.approx([1, 0.5, 0.5 / 1.7], abs=1e-6)  # red gain 0.5, blue 1.7
    # A converter derives the colour of the light from both. It is that of the matrix, D65.
    response = matrix.reshape(3, 3) @ [0.95047, 1, 1.08883]
    assert response / response.max() == pytest.approx(neutral, abs=1e-4)
    assert "ImageDescription" not in tags
