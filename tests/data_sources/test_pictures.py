import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from twostagealign.data.frame_files import list_pictures
from twostagealign.data.pictures import (
    BUNDLED,
    PictureCache,
    bundled_picture,
    check_equal_sizes,
    read_picture,
    read_pixels,
    stored_size,
    upright_size,
    write_picture,
)
from twostagealign.runtime.errors import UserError


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


def one_line(error, *words):
    text = str(error.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp"])
def test_reads_channels_in_rgb_order(tmp_path, rgb, suffix):
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), rgb[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, 101])
    np.testing.assert_array_equal(read_picture(path), rgb)


def test_reads_jpeg(tmp_path):
    path = tmp_path / "a.jpg"
    rgb = np.full((16, 16, 3), (200, 100, 30), np.uint8)
    cv2.imwrite(str(path), rgb[..., ::-1])
    assert np.abs(read_picture(path).astype(int) - rgb).max() <= 3


def test_scales_16_bits_to_8_with_rounding(tmp_path, rgb):
    path = tmp_path / "a.png"
    write_picture(path, rgb.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_picture(path), rgb)
    write_picture(path, np.minimum(rgb.astype(np.uint32) * 257 + 128, 65535).astype(np.uint16))
    np.testing.assert_array_equal(read_picture(path), rgb)


def test_grey_is_expanded_and_alpha_dropped(tmp_path, rgb):
    cv2.imwrite(str(tmp_path / "grey.png"), rgb[..., 0])
    np.testing.assert_array_equal(read_picture(tmp_path / "grey.png"), np.repeat(rgb[..., :1], 3, axis=2))
    alpha = np.full((48, 40, 1), 7, np.uint8)
    cv2.imwrite(str(tmp_path / "alpha.png"), np.concatenate([rgb[..., ::-1], alpha], axis=2))
    np.testing.assert_array_equal(read_picture(tmp_path / "alpha.png"), rgb)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, rgb, suffix, share):
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), rgb)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError) as error:
        read_picture(path)
    one_line(error, str(path), "truncated")


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_truncated_16_bit_tiff_is_refused(tmp_path, rgb, compression):
    path = tmp_path / "cut.tiff"
    tifffile.imwrite(path, rgb[..., 0].astype(np.uint16) * 200, compression=compression)
    np.testing.assert_array_equal(read_pixels(path), rgb[..., 0].astype(np.uint16) * 200)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match="truncated"):
        read_pixels(path)


def test_damaged_png_is_refused(tmp_path, rgb):
    path = tmp_path / "a.png"
    write_picture(path, rgb)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match="damaged"):
        read_picture(path)


def test_other_broken_files_are_named(tmp_path):
    with pytest.raises(UserError) as error:
        read_picture(tmp_path / "none.png")
    one_line(error, "none.png", "no such file")
    with pytest.raises(UserError) as error:
        read_picture(tmp_path)
    one_line(error, str(tmp_path), "is a folder")
    (tmp_path / "empty.png").touch()
    with pytest.raises(UserError) as error:
        read_picture(tmp_path / "empty.png")
    one_line(error, "empty.png", "the file is empty")
    (tmp_path / "text.png").write_text("no picture, but of some length")
    with pytest.raises(UserError) as error:
        read_picture(tmp_path / "text.png")
    one_line(error, "text.png", "not a picture")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(UserError) as error:
        read_picture(tmp_path / "float.tif")
    one_line(error, "float.tif", "float pixels", "8 or 16 bits")


def test_a_picture_of_another_format_starts_no_program(tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    ghostscript = programs / "gs"
    ghostscript.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\necho 10.0\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    path = tmp_path / "2.png"
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 24\n%%EndComments\n0 0 32 24 rectfill\nshowpage\n")
    for read in (read_picture, stored_size):
        with pytest.raises(UserError) as error:
            read(path)
        one_line(error, "2.png", "not a picture (PNG, JPEG, BMP, TIFF or WebP)")
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("name", ["PPM", "GIF", "TGA", "JPEG2000"])
def test_formats_that_are_not_promised_are_refused(tmp_path, rgb, name):
    path = tmp_path / "a.png"
    Image.fromarray(rgb).save(path, name)
    with pytest.raises(UserError, match="not a picture"):
        read_picture(path)


def test_opencv_prints_nothing(tmp_path, rgb, capfd):
    tifffile.imwrite(tmp_path / "a.tif", rgb, extratags=[(40963, "H", 2, (1, 1), True)], resolutionunit=1)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    position = data.index(b"\x28\x01\x03\x00\x01")  # ResolutionUnit, one short
    data[position + 4] = 2  # which it must not be
    (tmp_path / "a.tif").write_bytes(data)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif"), rgb)
    assert capfd.readouterr() == ("", "")


def png(rows: bytes, late: bool = False) -> bytes:
    """An RGB PNG of 40x48 pixels whose checksums are right; `late`: its gamma comes after the pixels."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40, 48, 8, 2, 0, 0, 0))
    gamma = chunk(b"gAMA", struct.pack(">I", 45455)) if late else b""
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + gamma + chunk(b"IEND", b"")


def test_decoders_print_nothing_beside_the_error(tmp_path, rgb, capfd):
    rows = b"".join(b"\0" + row.tobytes() for row in rgb)
    path = tmp_path / "a.png"
    for content, sound in (
        (png(rows), True),
        (png(rows, late=True), True),
        (png(rows + bytes(100)), True),  # more than the picture
        (png(rows[:-100]), False),
        (png(b"\x09" + rows[1:]), False),  # no such filter
    ):
        path.write_bytes(content)
        if sound:
            np.testing.assert_array_equal(read_picture(path), rgb)
        else:
            with pytest.raises(UserError, match="truncated or damaged picture"):
                read_picture(path)
    tiff = io.BytesIO()
    tifffile.imwrite(tiff, rgb, photometric="rgb")
    content = bytearray(tiff.getvalue())
    start = int.from_bytes(content[4:8], "little") + 2
    content[start : start + 24] = content[start + 12 : start + 24] + content[start : start + 12]  # tags out of order
    path.write_bytes(content)
    np.testing.assert_array_equal(read_picture(path), rgb)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_format_is_turned_as_exif_says(tmp_path, name, orientation):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16] = 255
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(stored).save(path, name, exif=exif)
    expected = {  # corner that is white: top, left
        1: (0, 0),
        2: (0, 1),
        3: (1, 1),
        4: (1, 0),
        5: (0, 0),
        6: (0, 1),
        7: (1, 1),
        8: (1, 0),
    }[orientation]
    picture = read_picture(path)
    assert picture.shape[:2] == upright_size(path) == ((16, 32) if orientation < 5 else (32, 16))
    height, width = picture.shape[0] // 2, picture.shape[1] // 2
    bright = [[picture[y * height :, x * width :][:height, :width].mean() > 200 for x in (0, 1)] for y in (0, 1)]
    assert [(y, x) for y in (0, 1) for x in (0, 1) if bright[y][x]] == [expected]


def test_pipes_are_refused_and_do_not_block(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    for read in (read_picture, stored_size):
        with pytest.raises(UserError) as error:
            read(tmp_path / "a.png")
        one_line(error, "a.png", "is a pipe")


def test_bundled_pictures_are_colour_photographs():
    for name in BUNDLED:
        picture = bundled_picture(name)
        assert picture.ndim == 3
        assert min(picture.shape[:2]) >= 300
        assert picture.std(axis=2).mean() > 2, name
    with pytest.raises(UserError, match="'lena', expected one of astronaut"):
        bundled_picture("lena")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_write_then_read(tmp_path, dtype):
    rgb = np.random.default_rng(1).integers(0, np.iinfo(dtype).max + 1, (6, 8, 3)).astype(dtype)
    write_picture(tmp_path / "a.png", rgb)
    np.testing.assert_array_equal(read_pixels(tmp_path / "a.png"), rgb)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, rgb, monkeypatch):
    path = tmp_path / "a.png"
    write_picture(path, rgb)

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(UserError, match=r"a\.png: cannot be written \(No space left on device\)"):
        write_picture(path, 255 - rgb)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
    np.testing.assert_array_equal(read_picture(path), rgb)


def test_write_errors(tmp_path, rgb):
    with pytest.raises(UserError, match="cannot be written"):
        write_picture(tmp_path / "none" / "a.png", rgb)
    with pytest.raises(UserError, match=r"ends in \.png"):
        write_picture(tmp_path / "a.jpg", rgb)
    with pytest.raises(ValueError, match="float64"):
        write_picture(tmp_path / "a.png", rgb / 255)


def test_check_equal_sizes(tmp_path):
    for name, size in (("a.png", (4, 6)), ("b.png", (4, 6)), ("c.png", (6, 4))):
        write_picture(tmp_path / name, np.zeros((*size, 3), np.uint8))
    paths = list_pictures(tmp_path)
    assert check_equal_sizes(paths[:2]) == (4, 6)
    with pytest.raises(UserError) as error:
        check_equal_sizes(paths)
    one_line(error, "c.png", "found 4x6", "expected 6x4", "a.png")


def test_cache_keeps_the_latest_pictures_within_its_budget(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for i, path in enumerate(paths):
        write_picture(path, np.full((10, 10, 3), i, np.uint8))
    cache = PictureCache(2 * 300)
    first, second = cache.read(paths[0]), cache.read(paths[1])
    assert cache.read(paths[0]) is first
    assert cache.read(paths[2])[0, 0, 0] == 2  # the second is the oldest now, and goes
    assert cache.read(paths[0]) is first
    assert cache.read(paths[1]) is not second
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0
    write_picture(paths[0], np.zeros((20, 20, 3), np.uint8))
    larger = PictureCache(600)
    assert larger.read(paths[0]) is not larger.read(paths[0])  # larger than the budget


def test_sizes_are_compared_as_pictures_are_read(tmp_path):
    """A picture that EXIF turns by 90 degrees has the size that it is turned to."""
    upright = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(upright).save(tmp_path / "0.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "1.jpg", exif=exif)
    Image.fromarray(upright).save(tmp_path / "2.jpg", exif=exif)
    assert check_equal_sizes([tmp_path / "0.jpg", tmp_path / "1.jpg"]) == (16, 24)
    assert read_picture(tmp_path / "1.jpg").shape == (16, 24, 3)
    with pytest.raises(UserError, match=r"2\.jpg: found 16x24 pixels, expected 24x16 as in 0\.jpg"):
        check_equal_sizes([tmp_path / "0.jpg", tmp_path / "2.jpg"])


def test_libtiff_prints_nothing_beside_our_line(tmp_path, capfd) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, compression="tiff_lzw")
    short, rational = (struct.pack("<HH", 284, kind) for kind in (3, 5))  # PlanarConfiguration
    content = path.read_bytes()
    assert content.count(short) == 1
    path.write_bytes(content.replace(short, rational))
    with pytest.raises(UserError, match="truncated or damaged picture"):
        read_picture(path)
    assert capfd.readouterr().err == ""
