import csv
import os
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from twostagealign.data import bundled_picture, read_picture, write_raw_folder
from twostagealign.isp import mosaic, protocol_camera, unpack, unprocess
from twostagealign.restoration.burst_list import BurstInput, find_bursts
from twostagealign.restoration.folder import Request
from twostagealign.restoration.many import restore_bursts
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError

CODES = Path(__file__).parents[2] / "codes"


def write_burst(folder: Path, seed: int = 0) -> None:
    """Write two mosaics of 24 x 32 samples and their camera.yml."""
    pictures = np.stack([bundled_picture("chelsea")[50 + seed : 74 + seed, x : x + 32] for x in (100, 102)])
    linear = unprocess(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255, protocol_camera())
    write_raw_folder(folder, unpack(mosaic(linear), "RGGB"), protocol_camera(), 1e-4, 1e-3)


@pytest.fixture
def input(tmp_path) -> Path:
    """Three bursts, of which the second has a damaged frame."""
    for number, name in enumerate(("a", "b", "c")):
        write_burst(tmp_path / "in" / name, number)
    damaged = tmp_path / "in" / "b" / "0001.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    return tmp_path / "in"


@pytest.fixture
def restore(input, tiny_checkpoint, tmp_path):
    """Restores the bursts into `tmp_path / "out"`; returns the error, if there is one."""

    def run(resume: bool = False, patch: int = 16) -> str | None:
        bursts = find_bursts([input], None, tmp_path / "out")
        assert bursts
        try:
            request = Request(tiny_checkpoint, device="cpu", tiling=Tiling(patch=patch, halo=4))
            restore_bursts(bursts, tmp_path / "out", request, resume)
        except UserError as error:
            return str(error)
        return None

    return run


def rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "bursts.csv").open(newline="") as file:
        return {row["burst"]: row for row in csv.DictReader(file)}


class Page(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_one_bad_burst_does_not_end_the_others(restore, input, tmp_path) -> None:
    error = restore()
    assert error is not None
    assert error.startswith("1 of 3 bursts not restored: b: ")
    assert error.endswith(f"; see {tmp_path}/out/index.html")
    table = rows(tmp_path / "out")
    assert list(table) == ["a", "b", "c"]
    for name in ("a", "c"):
        assert read_picture(tmp_path / "out" / name / table[name]["pictures"]).shape == (24, 32, 3)
        assert table[name]["reference"] == table[name]["pictures"].removesuffix(".png")
        assert (table[name]["frames"], table[name]["error"]) == ("2", "")
        assert (float(table[name]["shot"]), float(table[name]["read"])) == (1e-4, 1e-3)
    assert "0001.png" in table["b"]["error"]
    page = Page(tmp_path / "out" / "index.html")
    assert {"a/thumbnail.jpg", f"c/{table['c']['pictures']}"} <= set(page.links)
    assert f"Not restored: {table['b']['error']}" in page.text


def test_resume_leaves_out_what_is_finished(restore, input, tmp_path) -> None:
    restore()
    picture = tmp_path / "out" / "a" / rows(tmp_path / "out")["a"]["pictures"]
    other = tmp_path / "out" / "c" / rows(tmp_path / "out")["c"]["pictures"]
    for path in (picture, other):
        os.utime(path, (1, 1))
    shutil.rmtree(input / "b")
    write_burst(input / "b", 5)  # repaired
    (input / "c" / "0000.png").touch()  # changed
    assert restore(resume=True) is None
    assert picture.stat().st_mtime == 1
    assert other.stat().st_mtime > 1
    assert not any(row["error"] for row in rows(tmp_path / "out").values())
    picture.unlink()
    assert restore(resume=True) is None
    assert picture.exists()
    assert restore() is None
    assert picture.stat().st_mtime > 1


def test_resume_with_other_settings_is_refused(restore, tmp_path) -> None:
    restore()
    error = restore(resume=True, patch=20)
    assert error is not None
    assert error.startswith(f"--resume: {tmp_path}/out was made with tiling ")
    assert error.endswith("use the same settings, or another --output")


def test_names_are_neither_markup_nor_formulas(restore, input, tmp_path) -> None:
    for name in ("a", "c"):
        shutil.rmtree(input / name)
    (input / "b").rename(input / "=1<script>#?")
    restore()
    assert list(rows(tmp_path / "out")) == ["'=1<script>#?"]
    assert "script" not in Page(tmp_path / "out" / "index.html").tags


@pytest.mark.slow
def test_two_processes_share_the_bursts_out(input, tiny_checkpoint, tmp_path, torchrun_jobs) -> None:
    command = [str(CODES / "restore.py"), "--input", str(input), "--output", str(tmp_path / "out")]
    command += ["--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--patch", "16"]

    def run(number: int, *options: str) -> tuple[list[int | None], str]:
        start = ["--standalone", "--nproc_per_node=2"]
        with torchrun_jobs.Job([*command, *options], tmp_path / f"logs_{number}", start, nodes=1) as job:
            return job.wait(900), job.output(0)

    codes, output = run(1)
    assert codes == [1]  # torchrun's own, where a process has ended with another code than 0
    (line,) = [line for line in output.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: 1 of 3 bursts not restored: b: ")
    before = rows(tmp_path / "out")
    assert [name for name, row in before.items() if row["error"]] == ["b"]
    pictures = {name: tmp_path / "out" / name / before[name]["pictures"] for name in ("a", "c")}
    for path in pictures.values():
        assert read_picture(path).shape == (24, 32, 3)
        os.utime(path, (1, 1))

    shutil.rmtree(input / "b")
    write_burst(input / "b", 5)  # repaired
    codes, output = run(2, "--resume")
    assert codes == [0], output
    assert output.count("written to") == 1
    after = rows(tmp_path / "out")
    assert list(after) == ["a", "b", "c"]
    assert not any(row["error"] for row in after.values())
    assert [path.stat().st_mtime for path in pictures.values()] == [1, 1]


class TestFindBursts:
    def test_a_folder_of_folders(self, input, tmp_path) -> None:
        assert find_bursts([input], None, tmp_path / "out") == [BurstInput(name, input / name) for name in "abc"]
        assert find_bursts([input], None, input / "a") == [BurstInput(name, input / name) for name in "bc"]

    def test_several_folders(self, input, tmp_path) -> None:
        folders = [input / "c", input / "a"]
        assert find_bursts(folders, None, tmp_path) == [BurstInput("c", folders[0]), BurstInput("a", folders[1])]
        (tmp_path / "other" / "a").mkdir(parents=True)
        with pytest.raises(UserError, match="two folders are called a"):
            find_bursts([*folders, tmp_path / "other" / "a"], None, tmp_path)

    def test_a_single_burst(self, input, tmp_path) -> None:
        assert find_bursts([input / "a"], None, tmp_path) is None
        assert find_bursts([input / "a" / "0000.png", input / "a" / "0001.png"], None, tmp_path) is None
        (input / "a" / "folder").mkdir()
        assert find_bursts([input / "a"], None, tmp_path) is None
        assert find_bursts([tmp_path / "missing"], None, tmp_path) is None

    def test_a_link_to_itself_is_a_file(self, input, tmp_path) -> None:
        (tmp_path / "burst").mkdir()
        (tmp_path / "burst" / "2.dng").symlink_to("2.dng")
        assert find_bursts([tmp_path / "burst"], None, tmp_path) is None

    def test_only_raw_files_are_split(self, input, tmp_path) -> None:
        with pytest.raises(UserError, match=r"0000\.png: not a raw file; --split-bursts needs the capture times"):
            find_bursts([input / "a"], 1.0, tmp_path)
