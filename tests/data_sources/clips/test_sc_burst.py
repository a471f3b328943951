import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from twostagealign.data.clips.sc_burst import SCBurst, SCBurstScene
from twostagealign.data.clips.sc_burst_writer import write_scene
from twostagealign.isp import protocol_camera, unpack
from twostagealign.runtime.errors import UserError

SHOT, READ = 0.0064, 0.02
MIDDLE = "0003.mat"


def random_frames(count: int = 5, height: int = 6, width: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(4, height, width, generator=generator) for _ in range(count)]


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    write_scene(tmp_path / "Scene01", random_frames(), SHOT, READ)
    return tmp_path / "Scene01"


def test_what_is_written_is_read(scene) -> None:
    clips = SCBurst(scene.parent, frames=5)
    assert clips.clips == ["Scene01"]
    clip = clips.open("Scene01")
    assert (clip.frames, list(clip.references), clip.size) == (["0001", "0002", "0003", "0004", "0005"], [2], (6, 8))
    for index, planes in enumerate(random_frames()):
        frame = clip.read(index)
        assert torch.equal(frame.raw(), planes)
        assert frame.clean is None
    expected = protocol_camera()
    torch.testing.assert_close(clip.camera.rgb2cam, expected.rgb2cam)
    torch.testing.assert_close(clip.camera.red_gain, expected.red_gain)
    torch.testing.assert_close(clip.camera.blue_gain, expected.blue_gain)
    assert (clip.noise.shot, clip.noise.read) == pytest.approx((SHOT, READ))


def test_file_is_one_that_matlab_would_write(scene) -> None:
    start = (scene / MIDDLE).read_bytes()[:512]
    assert start.startswith(b"MATLAB 7.3 MAT-file")
    assert start[124:128] == b"\x00\x02IM"
    with h5py.File(scene / MIDDLE) as file:
        assert file["im"].shape == (16, 12)  # transposed
        np.testing.assert_allclose(file["im"][()].T, unpack(random_frames()[2]))
        values = file["meta/UnknownTags/Value"]
        assert values.shape[0] == 1
        np.testing.assert_allclose(file[values[0, 7]][()].ravel(), [SHOT, READ**2])
        assert file["meta/ColorMatrix2"].attrs["MATLAB_class"] == b"double"


def test_structure_written_by_hand(tmp_path) -> None:
    """Without the project's own writer: single precision, rows for columns, a profile for each of three colours."""
    folder = tmp_path / "Scene07"
    folder.mkdir()
    mosaic = np.random.default_rng(0).random((7, 10), dtype=np.float32)  # odd height
    with h5py.File(folder / "only.mat", "w") as file:
        file["im"] = mosaic.T
        file["meta/ColorMatrix2"] = np.arange(1.0, 10.0)[:, None] ** 2
        file["meta/AsShotNeutral"] = np.array([[0.5, 1.0, 0.8]])
        file["x"] = np.array([[1e-3, 4e-4, 2.0, 2.0, 2.0, 2.0]])
        references = np.array([[file["im"].ref] * 7 + [file["x"].ref]], dtype=h5py.ref_dtype).T
        file.create_dataset("meta/UnknownTags/Value", data=references)
    clip = SCBurstScene(folder, frames=1)
    red, green, other_green, blue = clip.read(0).planes
    np.testing.assert_array_equal(red, mosaic[:6:2, ::2])
    np.testing.assert_array_equal(green, mosaic[:6:2, 1::2])
    np.testing.assert_array_equal(other_green, mosaic[1:6:2, ::2])
    np.testing.assert_array_equal(blue, mosaic[1:6:2, 1::2])
    assert (clip.camera.red_gain.item(), clip.camera.blue_gain.item()) == (2.0, 1.25)
    assert (clip.noise.shot, clip.noise.read) == pytest.approx((1e-3, 2e-2))


def test_first_files_by_name_make_the_burst(scene) -> None:
    extra = (scene / "0005.mat").read_bytes()
    for name in ("0006.mat", ".hidden.mat", "0000.txt"):
        (scene / name).write_bytes(extra)
    assert SCBurstScene(scene, frames=5).frames == ["0001", "0002", "0003", "0004", "0005"]


def test_values_a_little_outside_are_clamped(scene) -> None:
    with h5py.File(scene / "0001.mat", "a") as file:
        file["im"][0, :2] = [-0.01, 1.02]
    raw = SCBurstScene(scene, frames=5).read(0).planes
    assert (raw[0, 0, 0], raw[2, 0, 0]) == (0, 1)


def put(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return change


def null_reference(file: h5py.File) -> None:
    file["meta/UnknownTags/Value"][0, 7] = h5py.Reference()


def reference_to_group(file: h5py.File) -> None:
    file["meta/UnknownTags/Value"][0, 7] = file["meta"].ref


def nans(file: h5py.File) -> None:
    file["im"][2, :3] = np.nan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put("im", None), r"found no dataset im, expected one"),
        (put("im", np.zeros((4, 4, 3))), r"im: found an array of shape \(4, 4, 3\), expected a matrix"),
        (put("im", np.full((4, 4), 1023.0)), r"im: found values from 1023 to 1023, expected them in \[0, 1\]"),
        (put("im", np.zeros((6, 6))), r"0003\.mat: found a mosaic|0001\.mat: found a mosaic of 16x12, expected 6x6"),
        (put("im", np.array([[b"text"]])), r"im: found entries of type \|S4, expected numbers"),
        (nans, r"0003\.mat: im: found 3 values that are NaN or infinite, expected numbers"),
        (put("meta", None), r"found no dataset meta/ColorMatrix2"),
        (
            put("meta/ColorMatrix2", np.zeros((3, 3))),
            r"ColorMatrix2: found an array of shape \(3, 3\), expected 9 numbers",
        ),
        (put("meta/ColorMatrix2", np.ones((9, 1))), r"ColorMatrix2: found a singular matrix, expected an invertible"),
        (
            put("meta/AsShotNeutral", np.array([[0.5, 1, 0]])),
            r"AsShotNeutral: found \[0\.5, 1\.0, 0\.0\], expected positive",
        ),
        (put("meta/AsShotNeutral", np.array([[1e-320, 1, 1]])), r"AsShotNeutral: found .*, expected positive numbers"),
        (put("meta/AsShotNeutral", np.array([[0.5, 1, np.nan]])), r"AsShotNeutral: found 1 values that are NaN"),
        (put("meta/UnknownTags", None), r"found no dataset meta/UnknownTags/Value"),
        (
            put("meta/UnknownTags/Value", np.zeros((1, 9))),
            r"found 9 entries of type float64, expected at least 8 refer",
        ),
        (put("meta/UnknownTags", np.zeros((1, 9))), r"found no dataset meta/UnknownTags/Value"),
        (null_reference, r"Value\[7\]: found a reference that leads nowhere"),
        (reference_to_group, r"Value\[7\]: found a group, expected a matrix"),
    ],
)
def test_broken_content(scene, change, message) -> None:
    with h5py.File(scene / MIDDLE, "a") as file:
        change(file)

    def use() -> None:
        clip = SCBurstScene(scene, frames=5)
        for index in (2, 0):
            clip.check(index)

    with pytest.raises(UserError, match=message) as caught:
        use()
    assert str(scene) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def external_link(file: h5py.File) -> None:
    file["im"] = h5py.ExternalLink("other.mat", "/im")


def external_link_to_a_group(file: h5py.File) -> None:
    with h5py.File(Path(file.filename).with_name("other.mat"), "a") as other:
        file.copy(file["meta"], other, "meta")
    del file["meta"]
    file["meta"] = h5py.ExternalLink("other.mat", "/meta")
    file["im"] = np.zeros((16, 12))


def soft_link_that_leaves(file: h5py.File) -> None:
    file["elsewhere"] = h5py.ExternalLink("other.mat", "/")
    file["im"] = h5py.SoftLink("/elsewhere/im")


def external_storage(file: h5py.File) -> None:
    Path(file.filename).with_name("secret").write_bytes(np.full((16, 12), 0.5).tobytes())
    file.create_dataset("im", (16, 12), np.float64, external=[("secret", 0, 8 * 192)])


def virtual_data_set(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((16, 12), np.float64)
    layout[...] = h5py.VirtualSource("other.mat", "im", (16, 12))
    file.create_virtual_dataset("im", layout)


def reference_to_external_storage(file: h5py.File) -> None:
    Path(file.filename).with_name("secret").write_bytes(np.array([[SHOT, READ]]).tobytes())
    file.create_dataset("profile", (1, 2), np.float64, external=[("secret", 0, 16)])
    file["meta/UnknownTags/Value"][0, 7] = file["profile"].ref
    file["im"] = np.zeros((16, 12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (external_link, "im: is a link, expected data in the file itself"),
        (external_link_to_a_group, "meta/ColorMatrix2: is a link, expected data in the file itself"),
        (soft_link_that_leaves, "im: is a link, expected data in the file itself"),
        (external_storage, "im: its data are in other files"),
        (virtual_data_set, "im: its data are in other files"),
        (reference_to_external_storage, r"Value\[7\]: its data are in other files"),
    ],
)
def test_other_files_are_not_read(scene, change, message) -> None:
    with h5py.File(scene / "other.mat", "w") as other:
        other["im"] = np.full((16, 12), 0.5)
    with h5py.File(scene / MIDDLE, "a") as file:
        del file["im"]
        change(file)
    with pytest.raises(UserError, match=message):
        SCBurstScene(scene, frames=5).check(2)


def without_data(**settings) -> Callable[[h5py.File], None]:
    return lambda file: file.create_dataset("im", dtype=np.float32, **settings)


def half_of_the_chunks(file: h5py.File) -> None:
    file.create_dataset("im", (16, 12), np.float32, chunks=(8, 12), compression="gzip")[:8] = 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_data(shape=(10**6, 10**6), chunks=(100, 100)), "a matrix of 1000000x1000000, expected at most"),
        (without_data(shape=(2000, 2000), chunks=(100, 100)), "the file holds only a part of its 2000x2000 values"),
        (without_data(shape=(2000, 2000)), "the file holds only a part of its 2000x2000 values"),
        (without_data(shape=(16, 12), maxshape=(None, None), chunks=(2**15, 2**14)), "expected at most"),
        (without_data(shape=(16, 12), chunks=(16, 12), scaleoffset=2), "a filter other than deflate"),
        (without_data(shape=(16, 12), chunks=(16, 12), compression="lzf"), "a filter other than deflate"),
        (half_of_the_chunks, "the file holds only a part of its 16x12 values"),
    ],
)
def test_sizes_are_those_of_the_data_in_the_file(scene, change, message) -> None:
    with h5py.File(scene / MIDDLE, "a") as file:
        del file["im"]
        change(file)
    with pytest.raises(UserError, match=message):
        SCBurstScene(scene, frames=5)


def test_compressed_as_matlab_does(scene) -> None:
    expected = SCBurstScene(scene, frames=5).read(2).planes
    with h5py.File(scene / MIDDLE, "a") as file:
        im = file["im"][()]
        del file["im"]
        file.create_dataset("im", data=im, chunks=(5, 7), compression="gzip", shuffle=True)
    assert torch.equal(SCBurstScene(scene, frames=5).read(2).planes, expected)


def test_pipes_are_refused_and_do_not_block(scene) -> None:
    (scene / MIDDLE).unlink()
    os.mkfifo(scene / MIDDLE)
    with pytest.raises(UserError, match=rf"{MIDDLE}: a pipe or a device in place of a \.mat file"):
        SCBurstScene(scene, frames=5)


def test_reference_to_a_deleted_dataset(scene) -> None:
    with h5py.File(scene / MIDDLE, "r+") as file:
        del file[file[file["meta/UnknownTags/Value"][()].ravel()[7]].name]
    with pytest.raises(UserError, match=r"Value\[7\]: found a reference that leads nowhere"):
        SCBurstScene(scene, frames=5)


@pytest.mark.parametrize("address", [1, 2**40])
def test_dangling_reference(scene, address) -> None:
    with h5py.File(scene / MIDDLE) as file:
        references = file["meta/UnknownTags/Value"].id.get_offset()
    with (scene / MIDDLE).open("r+b") as file:
        file.seek(references + 7 * 8)  # a reference is the address of an object
        file.write(address.to_bytes(8, "little"))
    with pytest.raises(UserError, match=r"Value\[7\]: found a reference that leads nowhere, expected a matrix"):
        SCBurstScene(scene, frames=5)


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ([[SHOT]], r"found an array of shape \(1, 1\), expected 2 or 6 numbers"),
        ([[SHOT, -1e-4]], r"found 0\.0064, -0\.0001, expected shot noise and read variance in \[0, 1\)"),
        ([[64.0, 2.0]], r"found 64, 2, expected shot noise and read variance in \[0, 1\)"),
    ],
)
def test_broken_noise_profile(scene, profile, message) -> None:
    with h5py.File(scene / MIDDLE, "a") as file:
        file["profile"] = np.array(profile)
        file["meta/UnknownTags/Value"][0, 7] = file["profile"].ref
    with pytest.raises(UserError, match=message):
        SCBurstScene(scene, frames=5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"MATLAB 5.0 MAT-file, Platform: GLNXA64".ljust(200), r"found a MATLAB v5 file, expected v7\.3"),
        (b"", r"found no HDF5 file or a damaged one"),
        (None, r"found no HDF5 file or a damaged one"),  # the true file, cut short
    ],
)
def test_broken_files(scene, content, message) -> None:
    path = scene / MIDDLE
    path.write_bytes(path.read_bytes()[:3000] if content is None else content)
    with pytest.raises(UserError, match=rf"{path}: {message}"):
        SCBurstScene(scene, frames=5)


def test_folders_that_cannot_be_used(tmp_path, scene) -> None:
    (scene / "0002.mat").unlink()
    with pytest.raises(UserError, match=r"Scene01: found 4 \.mat files, expected at least 5, a burst"):
        SCBurstScene(scene, frames=5)
    with pytest.raises(UserError, match=r"no such folder, expected one with a folder per scene"):
        SCBurst(tmp_path / "none", frames=5)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"found no folder in it, expected a folder per scene"):
        SCBurst(tmp_path / "empty", frames=5)
    with pytest.raises(UserError, match=r"found \.mat files in it, expected a folder without"):
        write_scene(scene, random_frames(), SHOT, READ)
