"""Loading, restoring, saving and measuring through the public interface."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rawpy
import torch

import twostagealign as tsa
from twostagealign.data import bundled_picture, write_picture, write_raw_folder
from twostagealign.isp import protocol_camera
from twostagealign.models.checkpoint import find_checkpoint, save_weights
from twostagealign.restoration.folder import Request, restore_folder
from twostagealign.restoration.outputs import Outputs
from twostagealign.runtime.memory import memory_used

TILING = tsa.Tiling(patch=16)


@pytest.fixture(scope="module")
def restorer(tiny_checkpoint: Path) -> tsa.Restorer:
    return tsa.load(tiny_checkpoint, device="cpu")


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    photograph = bundled_picture("coffee")
    return np.stack([photograph[100:140, left : left + 52] for left in (200, 204, 208)])


@pytest.fixture(scope="module")
def result(restorer: tsa.Restorer, pictures: np.ndarray) -> tsa.Result:
    return restorer.restore(tsa.simulate(pictures), TILING)


def read(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def test_result_is_what_the_program_writes(restorer, result, pictures, tiny_checkpoint, tmp_path) -> None:
    (tmp_path / "clip").mkdir()
    for number, picture in enumerate(pictures):
        write_picture(tmp_path / "clip" / f"{number}.png", picture)
    request = Request(tiny_checkpoint, simulate="high", device="cpu", tiling=TILING)
    written = restore_folder(tmp_path / "clip", tmp_path / "out", request)
    assert np.array_equal(read(tmp_path / "out" / "1.png"), result.srgb)
    assert written["mean"] == {"psnr": result.quality.psnr, "ssim": result.quality.ssim}


def test_blend_is_what_the_program_writes(restorer, result, pictures, tiny_checkpoint, tmp_path) -> None:
    burst = tsa.simulate(pictures)
    (tmp_path / "clip").mkdir()
    for number, picture in enumerate(pictures):
        write_picture(tmp_path / "clip" / f"{number}.png", picture)
    outputs = Outputs(strength=0.4)
    request = Request(tiny_checkpoint, simulate="high", device="cpu", tiling=TILING, outputs=outputs)
    restore_folder(tmp_path / "clip", tmp_path / "out", request)
    blend = result.blended(burst.demosaicked(), 0.4).srgb
    assert np.abs(read(tmp_path / "out" / "1.png").astype(int) - blend).max() <= 1
    assert np.abs(blend.astype(int) - result.srgb).mean() > 5
    with pytest.raises(ValueError, match="strength"):
        result.blended(burst.demosaicked(), 1.1)
    with pytest.raises(ValueError, match="demosaicked"):
        result.blended(burst.demosaicked()[1:], 0.5)


def test_shapes(result: tsa.Result) -> None:
    assert (result.srgb.shape, result.srgb.dtype) == ((40, 52, 3), np.uint8)
    assert (result.linear.shape, result.linear.dtype) == ((40, 52, 3), np.float32)
    assert result.shifts.shape == (2, 2, 3, 2)
    assert not result.shifts[:, :, 1].any()
    assert result.window == (0, 1, 2)
    assert result.reference == 1


def test_raw_result_is_cropped(restorer: tsa.Restorer, tmp_path: Path) -> None:
    mosaics = torch.rand(1, 19, 27, generator=torch.Generator().manual_seed(0))
    write_raw_folder(tmp_path / "raw", mosaics, protocol_camera(), 1e-3, 1e-2, "BGGR")
    result = restorer.restore(tsa.read_burst(tmp_path / "raw"), TILING)
    assert result.srgb.shape == result.linear.shape == (19, 27, 3)
    assert result.quality is None


def test_work_ends_when_progress_raises(restorer: tsa.Restorer, pictures: np.ndarray) -> None:
    calls = []

    def stop(done: int, total: int) -> None:
        calls.append(done)
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        restorer.restore(tsa.simulate(pictures), tsa.Tiling(patch=8, batch=1), progress=stop)
    assert calls == [0, 0, 0, 1]


def test_picture_grows(restorer: tsa.Restorer, pictures: np.ndarray) -> None:
    seen = []
    result = restorer.restore(tsa.simulate(pictures), TILING, preview=lambda linear: seen.append(linear.copy()))
    finished = [np.isfinite(linear).all(axis=(1, 2)).sum() for linear in seen]
    assert finished == [32, 40]
    assert np.array_equal(seen[0][:32], result.linear[:32])
    assert np.array_equal(seen[-1], result.linear)


def test_progress_ends_at_the_number_of_patches(restorer: tsa.Restorer, pictures: np.ndarray) -> None:
    calls: list[tuple[int, int]] = []
    tiling = tsa.Tiling(patch=16, batch=1)
    restorer.restore(tsa.simulate(pictures), tiling, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(0, 4)] * 3 + [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_saved_pictures(result: tsa.Result, tmp_path: Path) -> None:
    for suffix in ("png", "tif", "TIFF", "jpg", "dng"):
        result.save(tmp_path / f"picture.{suffix}")
    assert np.array_equal(read(tmp_path / "picture.png"), result.srgb)
    deep = read(tmp_path / "picture.tif")
    assert deep.dtype == np.uint16
    assert np.abs(deep / 257 - result.srgb).max() < 0.51
    assert np.array_equal(read(tmp_path / "picture.TIFF"), deep)
    with rawpy.imread(str(tmp_path / "picture.dng")) as raw:
        stored = raw.raw_image_visible[..., :3].copy()
    assert np.abs(stored / 65535 - result.linear.clip(0, 1)).max() < 1e-5
    assert np.abs(read(tmp_path / "picture.jpg").astype(int) - result.srgb).mean() < 4
    (tmp_path / "shown.png").write_bytes(result._repr_png_())
    assert np.array_equal(read(tmp_path / "shown.png"), result.srgb)


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux tells it")
@pytest.mark.parametrize(("suffix", "bits"), [("png", 16), ("tif", 16), ("dng", None)])
def test_a_large_picture_is_saved_in_little_memory(result: tsa.Result, tmp_path: Path, suffix, bits) -> None:
    large = replace(result, linear=np.full((1600, 2000, 3), 0.2, np.float32))
    large.save(tmp_path / f"first.{suffix}", bits=bits)  # loads what is needed
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before = memory_used(torch.device("cpu")).resident
    large.save(tmp_path / f"second.{suffix}", bits=bits)
    used = memory_used(torch.device("cpu")).resident - before
    extra = 2**26 if suffix == "dng" else 0  # its noise is estimated from a part of fixed size
    assert used < 1.6 * large.linear.nbytes + extra


def test_saved_brightness_tone_and_bits(result: tsa.Result, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    result.save(path, brightness=1, tone="none", bits=16)
    bright = read(path)
    assert np.array_equal(bright, result.render(1.0, "none", 16))
    result.save(path, tone="none", bits=16)
    plain = read(path)
    middle = (plain > 2000) & (bright < 65535)
    linear = [((picture / 65535 + 0.055) / 1.055) ** 2.4 for picture in (plain, bright)]  # IEC 61966-2-1, above 0.04
    assert np.median(linear[1][middle] / linear[0][middle]) == pytest.approx(2, rel=1e-2)


def test_automatic_brightness_is_that_of_the_program(restorer, tiny_checkpoint, tmp_path) -> None:
    mosaics = 0.05 * torch.rand(1, 16, 20, generator=torch.Generator().manual_seed(0))
    write_raw_folder(tmp_path / "raw", mosaics, protocol_camera(), 1e-3, 1e-2)
    outputs = Outputs(brightness="auto")
    restore_folder(
        tmp_path / "raw", tmp_path / "out", Request(tiny_checkpoint, device="cpu", tiling=TILING, outputs=outputs)
    )
    dark = restorer.restore(tsa.read_burst(tmp_path / "raw"), TILING)
    assert dark.automatic_brightness > 1
    assert np.array_equal(read(tmp_path / "out" / "0000.png"), dark.render("auto"))
    assert dark.render("auto").mean() > 1.5 * dark.render().mean()


def test_simulated_and_raw_pictures_have_their_usual_tone(restorer: tsa.Restorer, result: tsa.Result, tmp_path) -> None:
    assert np.array_equal(result.srgb, result.render(tone="paper"))
    mosaics = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)).numpy()
    noise = tsa.NoiseLevel("camera", 1e-3, 1e-2)
    raw = restorer.restore(tsa.burst_from_arrays(mosaics, tsa.CameraProfile.of_protocol(), noise=noise), TILING)
    assert np.array_equal(raw.srgb, raw.render(tone="curve"))
    assert not np.array_equal(raw.srgb, raw.render(tone="paper"))


def test_a_saved_mosaic(result: tsa.Result, tmp_path: Path) -> None:
    result.save(tmp_path / "picture.dng", dng="cfa")
    with rawpy.imread(str(tmp_path / "picture.dng")) as raw:
        found = raw.raw_image_visible[::2, ::2] / 65535
    assert np.abs(found - result.linear[::2, ::2, 0].clip(0, 1)).max() < 1e-5


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("a.png", {"bits": 12}, "bits: found 12, expected 8 or 16 for .png"),
        ("a.jpg", {"bits": 16}, "bits: found 16, expected 8 for .jpg"),
        ("a.png", {"tone": "film"}, "tone: found 'film', expected one of none, curve, paper"),
        ("a.png", {"brightness": 11}, "brightness: found 11, expected -10 to 10 EV, or 'auto'"),
        ("a.dng", {"dng": "raw"}, "dng: found 'raw', expected one of linear, cfa"),
    ],
)
def test_wrong_arguments_of_save(result: tsa.Result, tmp_path: Path, name, arguments, message) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        result.save(tmp_path / name, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_picture_is_not_saved_as_something_else(result: tsa.Result, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^path: found '.*picture\.gif', expected a name that ends in \.png, "):
        result.save(str(tmp_path / "picture.gif"))
    with pytest.raises(tsa.UserError, match="cannot be written"):
        result.save(tmp_path / "none" / "picture.dng")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": 5}, "name: found 5, expected a name or a file"),
        ({"device": "gpu"}, "device: found 'gpu', expected one of auto, cpu, cuda"),
        ({"dtype": "int8"}, "dtype: found 'int8', expected one of auto, float32"),
        ({"search": 48}, "search: found int, expected a Search"),
    ],
)
def test_wrong_arguments_of_load(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        tsa.load(**({"name": "tiny"} | arguments))


def test_wrong_arguments_of_restore(restorer: tsa.Restorer, pictures: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"^burst: found ndarray, expected what read_burst, "):
        restorer.restore(pictures)
    with pytest.raises(ValueError, match=r"^tiling: found str, expected a Tiling"):
        restorer.restore(tsa.simulate(pictures), "fast")


def test_unknown_checkpoint() -> None:
    with pytest.raises(tsa.UserError, match=r"^tinny: no such file, and none of the shipped checkpoints: .*tiny"):
        tsa.load("tinny")


def test_a_result_that_is_not_finite_is_refused(make_restorer, nodes, pictures, tmp_path) -> None:
    model = make_restorer()
    weights = {name: 1e30 * value for name, value in model.state_dict().items()}
    save_weights(tmp_path / "broken.safetensors", weights, nodes)
    with pytest.raises(tsa.UserError, match="not finite"):
        tsa.load(tmp_path / "broken.safetensors", device="cpu").restore(tsa.simulate(pictures), TILING)


def test_shipped_models() -> None:
    models = {model.name: model for model in tsa.list_models()}
    assert models["tiny"].path == find_checkpoint("tiny")
    assert models["tiny"].network == "TwoStageNet"
    for model in models.values():
        assert model.parameters == sum(weight.numel() for weight in tsa.load(model.name).model.parameters())
        assert "because" in model.licence


def test_quality_of_pictures() -> None:
    dark = np.full((16, 16, 3), 50, np.uint8)
    light = np.full((16, 16, 3), 101, np.uint8)
    assert tsa.psnr(dark, light) == pytest.approx(20 * np.log10(255 / 51))
    assert tsa.psnr(dark / 255, light) == pytest.approx(tsa.psnr(dark, light))
    assert tsa.ssim(torch.from_numpy(dark), dark) == pytest.approx(1)
    with pytest.raises(ValueError, match=r"^image: found shape \(3, 16, 16\), expected \(height, width, 3\)"):
        tsa.psnr(dark.transpose(2, 0, 1), light)
    with pytest.raises(ValueError, match=r"^target: found int64, expected uint8 or floats"):
        tsa.ssim(dark, light.astype(int))
    with pytest.raises(ValueError, match=r"^target: found shape"):
        tsa.psnr(dark, light[:8])
