import json
import os
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import ClassVar

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from twostagealign.data import (
    PROTOCOL_NOISE,
    Clip,
    RawFrame,
    bundled_picture,
    degrade_by_protocol,
    frame_window,
    open_clip,
    open_raw_folder,
    read_burst,
    write_picture,
    write_raw_folder,
)
from twostagealign.isp import CFA_ORDERS, demosaic, protocol_camera, unprocess
from twostagealign.matching import Search
from twostagealign.models import TwoStageRestorer
from twostagealign.models.checkpoint import open_restorer, save_weights
from twostagealign.restoration.folder import Request, open_input, restoration_table, restore_folder, restore_sequence
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.outputs import Outputs
from twostagealign.restoration.quality import develop, measure, to_uint8
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError

TILING = Tiling(patch=16, halo=4)
SEARCH = Search(16)
CFA_CELL = {"R": 0, "G": 1, "B": 2}


def read(path: Path) -> np.ndarray:
    """Picture as it is stored, RGB."""
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)[..., ::-1]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def views(count: int, height: int, width: int) -> np.ndarray:
    """What a camera sees of a cat that moves by two pixels from picture to picture."""
    cat = cv2.GaussianBlur(bundled_picture("chelsea"), (0, 0), 1.0)
    return np.stack([cat[100 + 2 * i : 100 + 2 * i + height, 150 - 2 * i : 150 - 2 * i + width] for i in range(count)])


@pytest.fixture(scope="session")
def clip(tmp_path_factory) -> Path:
    """Six pictures of 36 x 44 pixels."""
    folder = tmp_path_factory.mktemp("clip")
    for number, view in enumerate(views(6, 36, 44)):
        write_picture(folder / f"{number:03d}.png", view)
    return folder


@pytest.fixture
def restore(clip, tiny_checkpoint, tmp_path):
    """Restores into `tmp_path / "out"`, by default the clip, in float32 on every CPU."""

    def run(input: Path = clip, output: str = "out", **arguments) -> dict:
        usual = {"checkpoint": tiny_checkpoint, "tiling": TILING, "search": SEARCH, "device": "cpu", "dtype": "float32"}
        return restore_folder(input, tmp_path / output, Request(**usual | arguments))

    return run


class DemosaicNet(nn.Module):
    """Stands in for a trained network: demosaics the reference frame."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, lq, noise_map):
        return demosaic(lq[:, lq.shape[1] // 2]).clamp(0, 1)


@pytest.fixture
def restore_by_demosaicing(clip, make_restorer, tmp_path):
    """Restores one frame into `tmp_path / output` by a network that demosaics; returns the measures."""
    trained = make_restorer()
    restorer = TwoStageRestorer(DemosaicNet(), trained.features, trained.matcher).eval()

    def run(input: Path = clip, output: str = "out", simulate: str | None = None, **outputs) -> list[dict]:
        sequence = open_input(input, simulate)
        count = len(sequence.frames)
        window = frame_window(count // 2, count, min(5, count))
        (tmp_path / output).mkdir()
        return restore_sequence(restorer, sequence, [window], tmp_path / output, TILING, Outputs(**outputs))

    return run


def raw_folder(folder: Path, cfa: str, height: int, width: int, top: int = 0, left: int = 0) -> np.ndarray:
    """Write three raw frames, cut from the corner [top, left] of larger ones; returns the developed middle one."""
    camera = protocol_camera()
    clean = torch.from_numpy(views(3, 48, 56)).permute(0, 3, 1, 2)
    linear = unprocess(clean.float()[None] / 255, camera)[0][..., top : top + height, left : left + width]
    mosaics = torch.empty(3, height, width)
    for cell, colour in enumerate(cfa):
        y, x = divmod(cell, 2)
        mosaics[:, y::2, x::2] = linear[:, CFA_CELL[colour], y::2, x::2]
    write_raw_folder(folder, mosaics, camera, 1e-4, 1e-3, cfa)
    return to_uint8(develop(linear[1], camera))


def psnr_of(found: np.ndarray, expected: np.ndarray, border: int = 4) -> float:
    inner = np.s_[border:-border, border:-border]
    return -10 * np.log10(np.mean((found[inner] / 255.0 - expected[inner] / 255.0) ** 2) + 1e-12)


class TestSimulated:
    def test_writes_the_middle_frame_and_its_measures(self, restore, clip, tiny_checkpoint, tmp_path) -> None:
        result = restore(simulate="high")
        assert names(tmp_path / "out") == ["003.png", "metrics.json"]
        assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == result
        assert {key: result[key] for key in ("noise", "checkpoint", "window")} == {
            "noise": "high",
            "checkpoint": str(tiny_checkpoint),
            "window": 5,
        }
        assert (result["tiling"]["patch"], result["tiling"]["search_window"]) == (16, 16)
        assert result["seconds"] >= 0

        burst = read_burst(open_clip(clip, PROTOCOL_NOISE["high"]), [1, 2, 3, 4, 5])
        image = restore_frame(open_restorer(tiny_checkpoint, search=SEARCH), burst, TILING).image
        srgb, truth = develop(image, burst.camera), develop(burst.target(), burst.camera)
        quality = measure(srgb, truth)
        assert result["frames"] == [{"name": "003", "psnr": quality.psnr, "ssim": quality.ssim}]
        assert result["mean"] == {"psnr": quality.psnr, "ssim": quality.ssim}
        np.testing.assert_array_equal(read(tmp_path / "out" / "003.png"), to_uint8(srgb))

    def test_frames_keep_the_order_of_the_window_and_the_noise_of_their_place_in_the_clip(self, clip) -> None:
        indices, noise = [4, 3, 0, 1, 2], PROTOCOL_NOISE["high"]
        burst = read_burst(open_clip(clip, noise), indices)
        assert [frame.noise for frame in burst.frames] == [noise] * 5
        for frame, index in zip(burst.frames, indices, strict=True):
            picture = torch.from_numpy(read(clip / f"{index:03d}.png").copy()).permute(2, 0, 1)
            expected = degrade_by_protocol(picture, noise, index + 1)
            assert torch.equal(frame.planes, expected.planes)
            assert torch.equal(frame.clean, picture)

    def test_the_truth_is_the_clip_s_own_frame(self, restore_by_demosaicing, clip, tmp_path) -> None:
        """Demosaicing alone comes near it, and nearer where there is less noise."""
        quality = {noise: restore_by_demosaicing(output=noise, simulate=noise)[0]["psnr"] for noise in ("high", "low")}
        assert 18 < quality["high"] + 2 < quality["low"] < 40
        assert psnr_of(read(tmp_path / "low" / "003.png"), read(clip / "003.png")) > 18

    def test_sliding_restores_every_frame_as_by_itself(self, restore, tmp_path) -> None:
        result = restore(simulate="low", sliding=True, frames=3)
        stems = [f"{number:03d}" for number in range(6)]
        assert names(tmp_path / "out") == [*(f"{stem}.png" for stem in stems), "metrics.json"]
        assert [entry["name"] for entry in result["frames"]] == stems
        for key in ("psnr", "ssim"):
            assert result["mean"][key] == pytest.approx(fmean(entry[key] for entry in result["frames"]))
        for index in (0, 5):
            alone = restore(output="alone", simulate="low", reference=index, frames=3)
            assert alone["frames"] == [result["frames"][index]]
            np.testing.assert_array_equal(
                read(tmp_path / "alone" / f"{index:03d}.png"), read(tmp_path / "out" / f"{index:03d}.png")
            )

    @pytest.mark.parametrize("frames", [1, 2, 4, 6, None])
    @pytest.mark.parametrize("reference", [0, 4])
    def test_the_window_around_the_reference(self, restore, clip, tiny_checkpoint, tmp_path, frames, reference) -> None:
        """Of even length too; the reference frame is in its middle, and no frame is in it twice."""
        result = restore(simulate="low", frames=frames, reference=reference)
        length = frames or 5
        window = frame_window(reference, 6, length)
        assert result["window"] == len(window) == len(set(window)) == length
        assert window[length // 2] == reference
        burst = read_burst(open_clip(clip, PROTOCOL_NOISE["low"]), window)
        srgb = develop(restore_frame(open_restorer(tiny_checkpoint, search=SEARCH), burst, TILING).image, burst.camera)
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{reference:03d}.png"), to_uint8(srgb))

    @pytest.mark.parametrize("count", [1, 2, 3, 4])
    def test_of_a_short_clip_all_frames_are_used(self, restore, tmp_path, count) -> None:
        (tmp_path / "short").mkdir()
        for number, view in enumerate(views(count, 20, 24)):
            write_picture(tmp_path / "short" / f"{number}.png", view)
        result = restore(tmp_path / "short", simulate="low")
        assert result["window"] == count
        assert [entry["name"] for entry in result["frames"]] == [str(count // 2)]

    def test_odd_sides_lose_a_row_and_a_column(self, restore, tmp_path) -> None:
        (tmp_path / "odd").mkdir()
        for number, view in enumerate(views(3, 21, 27)):
            write_picture(tmp_path / "odd" / f"{number}.png", view)
        restore(tmp_path / "odd", simulate="low")
        assert read(tmp_path / "out" / "1.png").shape == (20, 26, 3)

    def test_linear_pictures_have_16_bits(self, restore, tmp_path) -> None:
        restore(simulate="low", outputs=Outputs(linear=True))
        assert names(tmp_path / "out") == ["003.png", "003_linear.png", "metrics.json"]
        linear = read(tmp_path / "out" / "003_linear.png")
        assert linear.dtype == np.uint16
        assert len(np.unique(linear)) > 256
        image = torch.from_numpy(linear.astype(np.float32) / 65535).permute(2, 0, 1)
        found = to_uint8(develop(image, protocol_camera())).astype(int)
        assert np.abs(found - read(tmp_path / "out" / "003.png")).max() <= 1

    def test_the_dtype_of_the_network(self, restore, tmp_path) -> None:
        pictures = {}
        for dtype in ("float32", "float64", "bfloat16"):
            assert restore(output=dtype, simulate="low", frames=3, dtype=dtype)["dtype"] == dtype
            pictures[dtype] = read(tmp_path / dtype / "003.png").astype(int)
        assert np.abs(pictures["float64"] - pictures["float32"]).max() <= 1
        difference = np.abs(pictures["bfloat16"] - pictures["float32"])
        assert 0 < difference.mean() < 8

    def test_neighbouring_windows_share_the_frames_that_they_read(self, clip, make_restorer, tmp_path) -> None:
        """Each frame is read, and its features are made, once."""

        class Counted(Clip):
            reads: ClassVar[Counter[int]] = Counter()

            def read(self, index: int) -> RawFrame:
                self.reads[index] += 1
                return super().read(index)

        opened = open_clip(clip, PROTOCOL_NOISE["low"])
        counted = Counted(**vars(opened))
        windows = [frame_window(index, 6, 5) for index in range(6)]
        restorer, described = make_restorer(), []
        restorer.features.register_forward_hook(lambda *_: described.append(1))
        measures = restore_sequence(restorer, counted, windows, tmp_path, TILING)
        assert [entry["name"] for entry in measures] == [f"{number:03d}" for number in range(6)]
        assert counted.reads == dict.fromkeys(range(6), 1)
        assert len(described) == 6

    def test_a_single_picture_is_restored_alone_with_a_hint(self, restore, clip, tmp_path, caplog) -> None:
        result = restore(clip / "002.png", simulate="low")
        assert (result["window"], [entry["name"] for entry in result["frames"]]) == (1, ["002"])
        assert names(tmp_path / "out") == ["002.png", "metrics.json"]
        assert "restored from this frame alone; give its folder to restore it from a burst" in caplog.text

    def test_unpadded_numbers_are_counted(self, restore, tmp_path) -> None:
        (tmp_path / "clip").mkdir()
        for number, view in enumerate(views(11, 12, 16), start=1):
            write_picture(tmp_path / "clip" / f"frame_{number}.png", view)
        result = restore(tmp_path / "clip", simulate="low", frames=3)
        assert [entry["name"] for entry in result["frames"]] == ["frame_6"]

    def test_pictures_that_exif_turns(self, restore, tmp_path) -> None:
        (tmp_path / "clip").mkdir()
        exif = Image.Exif()
        exif[0x0112] = 6
        for number, view in enumerate(views(3, 20, 24)):
            path = tmp_path / "clip" / f"{number}.jpg"
            if number == 2:
                Image.fromarray(np.rot90(view).copy()).save(path, exif=exif)
            else:
                Image.fromarray(view).save(path)
        restore(tmp_path / "clip", simulate="low")
        assert read(tmp_path / "out" / "1.png").shape == (20, 24, 3)

    def test_what_else_is_in_the_output_folder_stays(self, restore, tmp_path) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "notes.txt").write_text("mine")
        (tmp_path / "out" / "003.png").write_text("old")
        restore(simulate="low", frames=1)
        assert names(tmp_path / "out") == ["003.png", "metrics.json", "notes.txt"]
        assert read(tmp_path / "out" / "003.png").shape == (36, 44, 3)

    def test_table(self) -> None:
        frames = [{"name": "long_name", "psnr": 30.12345, "ssim": 0.9}, {"name": "b", "psnr": 9.0, "ssim": 0.51236}]
        assert restoration_table({"frames": frames, "mean": {"psnr": 19.5617, "ssim": 0.70618}}).splitlines() == [
            "frame      PSNR (dB)    SSIM",
            "long_name     30.123  0.9000",
            "b              9.000  0.5124",
            "mean          19.562  0.7062",
        ]


class TestRaw:
    @pytest.mark.parametrize("cfa", CFA_ORDERS)
    @pytest.mark.parametrize(("height", "width"), [(40, 48), (37, 45), (38, 41)])
    def test_every_order_and_size_gives_the_picture_that_was_taken(
        self, restore_by_demosaicing, tmp_path, cfa, height, width
    ) -> None:
        truth = raw_folder(tmp_path / "raw", cfa, height, width)
        (record,) = restore_by_demosaicing(tmp_path / "raw", tone="paper", linear=True)
        assert names(tmp_path / "out") == record["files"] == ["0001.png", "0001_linear.png"]
        found = read(tmp_path / "out" / "0001.png")
        assert found.shape == read(tmp_path / "out" / "0001_linear.png").shape == (height, width, 3)
        quality = psnr_of(found, truth)
        assert quality > 30
        for shift in (1, -1):  # had it moved by a pixel, it would be far worse
            for axis in (0, 1):
                assert psnr_of(np.roll(found, shift, axis), truth) < quality - 3

    @pytest.mark.parametrize(("cfa", "top", "left"), [("GBRG", 1, 0), ("GRBG", 0, 1), ("BGGR", 1, 1)])
    def test_one_row_or_column_less_gives_nearly_the_same_picture(self, restore, tmp_path, cfa, top, left) -> None:
        """The filter then begins with another colour. Seen through a network, which sees more than a pixel."""
        raw_folder(tmp_path / "whole", "RGGB", 48, 56)
        raw_folder(tmp_path / "cut", cfa, 48 - top, 56 - left, top, left)
        for name in ("whole", "cut"):
            restore(tmp_path / name, output=f"{name}_out", reference="middle")
        whole, cut = (read(tmp_path / f"{name}_out" / "0001.png") for name in ("whole", "cut"))
        assert cut.shape == (48 - top, 56 - left, 3)
        whole = whole[top:, left:]
        quality = psnr_of(cut, whole, border=16)
        assert quality > 25
        assert psnr_of(cut[1:], whole[:-1], border=16) < 10
        assert psnr_of(cut[:, 1:], whole[:, :-1], border=16) < 10

    def test_frames_keep_the_order_of_the_window(self, tmp_path) -> None:
        raw_folder(tmp_path / "raw", "RGGB", 8, 12)
        burst = read_burst(open_raw_folder(tmp_path / "raw"), [2, 0, 1])
        stored = [cv2.imread(str(tmp_path / "raw" / f"000{i}.png"), cv2.IMREAD_UNCHANGED) / 65535 for i in (2, 0, 1)]
        for frame, raw in zip(burst.frames, stored, strict=True):
            assert frame.planes.dtype == torch.uint16
            assert (frame.noise.shot, frame.noise.read) == (1e-4, 1e-3)
            planes = np.stack([raw[y::2, x::2] for y in (0, 1) for x in (0, 1)])
            np.testing.assert_allclose(frame.raw(), planes, atol=1e-5)

    def test_a_single_mosaic_is_restored_alone_with_a_hint(self, restore_by_demosaicing, tmp_path, caplog) -> None:
        truth = raw_folder(tmp_path / "raw", "GRBG", 40, 48)
        restore_by_demosaicing(tmp_path / "raw" / "0001.png", tone="paper")
        assert names(tmp_path / "out") == ["0001.png"]
        assert psnr_of(read(tmp_path / "out" / "0001.png"), truth) > 30
        assert "restored from this frame alone" in caplog.text

    def test_metadata_of_the_folder_is_used(self, restore_by_demosaicing, tmp_path) -> None:
        raw_folder(tmp_path / "raw", "RGGB", 40, 48)
        restore_by_demosaicing(tmp_path / "raw")
        text = (tmp_path / "raw" / "camera.yml").read_text()
        (tmp_path / "raw" / "camera.yml").write_text(text.replace("rgb_gain: 1.0", "rgb_gain: 1.5"))
        restore_by_demosaicing(tmp_path / "raw", output="brighter")
        assert read(tmp_path / "brighter" / "0001.png").mean() > read(tmp_path / "out" / "0001.png").mean() + 10


class TestMistakes:
    """One line that names what is wrong, and nothing is written."""

    @pytest.fixture
    def refusal(self, restore, tmp_path):
        def check(*arguments, **keywords) -> str:
            with pytest.raises(UserError) as caught:
                restore(*arguments, **keywords)
            assert not (tmp_path / "out").exists()
            assert len(str(caught.value).splitlines()) == 1
            return str(caught.value)

        return check

    @pytest.fixture
    def copy(self, clip, tmp_path) -> Path:
        """A copy of the clip, to be damaged."""
        (tmp_path / "copy").mkdir()
        for path in clip.iterdir():
            (tmp_path / "copy" / path.name).write_bytes(path.read_bytes())
        return tmp_path / "copy"

    @pytest.fixture
    def raw(self, tmp_path) -> Path:
        raw_folder(tmp_path / "raw", "RGGB", 40, 48)
        return tmp_path / "raw"

    @pytest.mark.parametrize("frames", [0, -1, 7])
    def test_frames(self, refusal, clip, frames) -> None:
        expected = f"--frames: found {frames}, expected 1 to 6, the number of frames in {clip.name}"
        assert refusal(simulate="low", frames=frames) == expected

    @pytest.mark.parametrize("reference", [-1, 6])
    def test_reference(self, refusal, clip, reference) -> None:
        expected = f"--reference: found {reference}, expected 0 to 5, the frames in {clip.name}"
        assert refusal(simulate="low", reference=reference) == expected

    def test_input_that_is_none(self, refusal, tmp_path) -> None:
        for arguments in ({}, {"simulate": "low"}):
            assert refusal(tmp_path / "none", **arguments).startswith(f"{tmp_path / 'none'}: no such folder")
        (tmp_path / "empty").mkdir()
        assert refusal(tmp_path / "empty", simulate="low").startswith(f"{tmp_path / 'empty'}: no picture")

    @pytest.mark.parametrize("sliding", [False, True])
    def test_truncated_frame(self, refusal, copy, sliding) -> None:
        """The last one of the window, or of the clip: not even the frames before it are restored."""
        path = copy / "005.png"
        path.write_bytes(path.read_bytes()[:-100])
        assert refusal(copy, simulate="low", sliding=sliding).startswith(f"{path}: truncated")

    def test_truncated_frame_that_is_not_needed(self, restore, copy, tmp_path) -> None:
        path = copy / "005.png"
        path.write_bytes(path.read_bytes()[:-100])
        restore(copy, simulate="low", reference=1, frames=3)
        assert names(tmp_path / "out") == ["001.png", "metrics.json"]

    def test_unequal_sizes(self, refusal, copy, raw) -> None:
        write_picture(copy / "004.png", np.zeros((36, 46, 3), np.uint8))
        assert refusal(copy, simulate="low") == f"{copy}/004.png: found 46x36 pixels, expected 44x36 as in 000.png"
        write_picture(raw / "0002.png", np.zeros((40, 46), np.uint16))
        assert refusal(raw).startswith(f"{raw}/0002.png: found 46x40 ")

    def test_frames_too_small_to_measure(self, refusal, tmp_path) -> None:
        (tmp_path / "small").mkdir()
        write_picture(tmp_path / "small" / "a.png", np.zeros((10, 40, 3), np.uint8))
        expected = f"{tmp_path / 'small' / 'a.png'}: found frames of 40x10 pixels, expected at least 12x12 to measure"
        assert refusal(tmp_path / "small", simulate="low") == expected

    def test_two_frames_of_one_name(self, refusal, copy) -> None:
        """Their results would overwrite each other."""
        cv2.imwrite(str(copy / "003.jpg"), np.zeros((36, 44, 3), np.uint8))
        assert refusal(copy, simulate="low").startswith(f"{copy}/003.png: found 003.jpg beside it")

    def test_pictures_where_mosaics_are_expected(self, refusal, raw, clip) -> None:
        expected = "pictures without camera.yml; describe the camera of Bayer mosaics there, "
        assert refusal(clip) == f"{clip}: {expected}or degrade ordinary pictures with --simulate"
        for number, view in enumerate(views(3, 40, 48)):
            write_picture(raw / f"{number:04d}.png", view.astype(np.uint16) * 257)
        assert refusal(raw) == f"{raw}/0000.png: found 3 channels, expected a Bayer mosaic of one channel"

    def test_a_picture_among_the_mosaics(self, refusal, raw) -> None:
        write_picture(raw / "0002.png", views(3, 40, 48)[0].astype(np.uint16) * 257)
        assert refusal(raw) == f"{raw}/0002.png: found 3 channels, expected a Bayer mosaic of one channel"

    def test_checkpoint_that_is_none(self, refusal, tmp_path) -> None:
        path = tmp_path / "net.pth"
        assert refusal(simulate="low", checkpoint=path).startswith(f"{path}: no such file")
        path.write_text("name: two_stage\n")
        assert refusal(simulate="low", checkpoint=path).startswith(f"{path}: not a checkpoint with plain tensors")

    def test_output_below_a_file(self, restore, tmp_path) -> None:
        (tmp_path / "file").write_text("mine")
        with pytest.raises(UserError, match=rf"^{tmp_path}/file/out: .+, expected a folder that can be written to$"):
            restore(output="file/out", simulate="low")
        assert names(tmp_path) == ["file"]

    def test_output_that_is_the_folder_of_a_single_input(self, restore, raw, tmp_path) -> None:
        before = {path: path.read_bytes() for path in raw.iterdir()}
        with pytest.raises(UserError, match="found the input folder, expected another one for the results"):
            restore(raw / "0001.png", output="raw")
        assert {path: path.read_bytes() for path in raw.iterdir()} == before

    def test_a_turned_picture_of_another_size(self, refusal, copy) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        with Image.open(copy / "004.png") as image:
            image.save(copy / "004.jpg", exif=exif)
        (copy / "004.png").unlink()
        assert refusal(copy, simulate="low") == f"{copy}/004.jpg: found 36x44 pixels, expected 44x36 as in 000.png"

    def test_output_that_is_the_input(self, restore, copy, tmp_path) -> None:
        (tmp_path / "link").symlink_to(copy)
        before = {path: path.read_bytes() for path in copy.iterdir()}
        for output in ("copy", "copy/", "link", "link/../copy"):
            with pytest.raises(UserError, match="found the input folder, expected another one for the results"):
                restore(copy, output=output, simulate="low")
        assert {path: path.read_bytes() for path in copy.iterdir()} == before

    def test_weights_whose_result_is_not_finite(self, restore, make_restorer, nodes, tmp_path) -> None:
        restorer, path = make_restorer(), tmp_path / "huge.safetensors"
        with torch.no_grad():
            for parameter in restorer.network.reconstruction.parameters():
                parameter.fill_(1e30)
        save_weights(path, restorer.state_dict(), nodes)
        with pytest.raises(UserError) as caught:
            restore(simulate="low", checkpoint=path)
        message = f"{path}: the network's result holds infinite values or NaN; use another checkpoint"
        assert str(caught.value).startswith(message)
        assert list((tmp_path / "out").iterdir()) == []

    def test_device_that_is_not_there(self, refusal, monkeypatch) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert refusal(simulate="low", device="cuda").startswith("device: ")

    def test_results_that_are_interrupted_leave_whole_pictures(self, clip, make_restorer, tmp_path) -> None:
        """Each picture is there as soon as it is done; what was not done leaves nothing."""

        class Interrupted(Clip):
            def read(self, index: int) -> RawFrame:
                if index == 2:
                    raise KeyboardInterrupt
                return super().read(index)

        sequence = Interrupted(**vars(open_clip(clip, PROTOCOL_NOISE["low"])))
        (tmp_path / "out").mkdir()
        with pytest.raises(KeyboardInterrupt):
            restore_sequence(make_restorer(), sequence, [[0], [1], [2]], tmp_path / "out", TILING)
        assert names(tmp_path / "out") == ["000.png", "001.png"]
        assert os.listdir(tmp_path) == ["out"]
