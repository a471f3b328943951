"""The report: what stands in it, and that it needs nothing but itself."""

import base64
import io
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from twostagealign.data import write_picture
from twostagealign.evaluation.report import choose_frames, write_report
from twostagealign.evaluation.report_pictures import CROP
from twostagealign.evaluation.results import (
    Checkpoint,
    Environment,
    FrameResult,
    Pictures,
    Results,
    Run,
    Shifts,
    Summary,
    write_record,
)
from twostagealign.evaluation.summary import summarise_clip, summarise_clips
from twostagealign.runtime.errors import UserError

EVIL = '<script>alert("&")</script>'
SIZE = (400, 520)
KINDS = ("noisy", "restored", "truth", "residual")


class Page(HTMLParser):
    """Elements of a page as (tag, attributes), rows of its tables as texts, and the text outside of scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def frame_result(clip: str, index: int, psnr: float | None, pictures: Pictures | None) -> FrameResult:
    return FrameResult(
        psnr=psnr,
        ssim=None if psnr is None else psnr / 50,
        lpips=None,
        clip=clip,
        frame=f"{index:03d}",
        index=index,
        part="border" if index == 0 else "center",
        window=["a", f"{index:03d}", "b"],
        seconds={"matching": 0.25, "network": 1.5, "stitching": 0.125},
        memory={"resident": 2**30, "device": None},
        pictures=pictures,
    )


def save_pictures(folder: Path, name: str, truth: bool) -> Pictures:
    random = np.random.default_rng(0)
    files: dict[str, str | None] = dict.fromkeys(KINDS)
    for kind in KINDS if truth else KINDS[:2]:
        files[kind] = f"{name}_{kind}.png"
        write_picture(folder / f"{name}_{kind}.png", random.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    shifts = Shifts(
        size=(SIZE[0] // 2, SIZE[1] // 2),
        patch=64,
        window=["a", "r", "b"],
        origins=[(0, 0), (0, 64)],
        shifts=[[(4, -12), (0, 0), (-4, 8)], [(4, -12), (0, 0), (0, 0)]],
    )
    write_record(folder / f"{name}_shifts.json", shifts)
    return Pictures(**files, shifts=f"{name}_shifts.json")


def make_results(
    folder: Path, complete: bool = True, truth: bool = True, clips: tuple[str, ...] = ("one", EVIL)
) -> Results:
    """One checkpoint at two levels of noise, pictures of the first frame of every clip."""
    runs = []
    for number, noise in enumerate(("high", "low")):
        frames = []
        for position, clip in enumerate(clips):
            for index in range(4):
                shown = save_pictures(folder, f"{noise}{position}", truth) if index == 0 else None
                psnr = 30 + number + position / 3 + index / 7 if truth else None
                frames.append(frame_result(clip, index, psnr, shown))
        summaries = [summarise_clip(clip, [frame for frame in frames if frame.clip == clip]) for clip in clips]
        level = {"noise": noise, "shot": 6.4e-3, "read": 2e-2, "paper_psnr": 36.06 + number}
        runs.append(Run(checkpoint="net", **level, mean=summarise_clips(summaries), clips=summaries, frames=frames))
    return Results(
        schema_version=1,
        dataset=f"data set {EVIL}",
        data="somewhere",
        complete=complete,
        notes=[] if complete else ["not complete: 2 of 4 clips are missing"],
        options={"tiling": {"patch": 64, "halo": 4}, "note": EVIL},
        checkpoints=[
            Checkpoint(
                label="net",
                file=f"folder/{EVIL}.pth",
                sha256="0" * 64,
                network="TwoStageNet",
                parameters=833944,
                feature_parameters=9840,
                tile_gflop=None,
            )
        ],
        runs=runs,
        comparisons=[],
        skipped=[],
        environment=Environment(python="3.11", torch="2.6", device="cpu", ranks=1, threads=2),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return make_results(folder)


@pytest.fixture(scope="module")
def html(folder: Path, results: Results) -> str:
    return write_report(folder, results).read_text(encoding="utf-8")


def test_needs_nothing_from_outside(html: str):
    assert "http:" not in html
    assert "https:" not in html
    assert "@import" not in html
    assert "url(" not in html
    for _, attributes in Page(html).elements:
        assert (attributes.get("src") or "data:").startswith("data:")
        assert (attributes.get("href") or "data:").startswith("data:")


def test_names_are_text_and_not_markup(html: str):
    page = Page(html)
    assert len(page.all("script")) == 1  # the report's own
    assert "alert(" in page.text
    assert "<script>alert" not in html


def test_every_picture_says_what_it_shows(html: str):
    pictures = Page(html).all("img")
    alts = [picture["alt"] for picture in pictures]
    assert len(pictures) == 2 * (5 + 2 + 1)  # for each frame layers, residuals and the overview
    assert len(set(alts)) == len(alts)
    assert all(f"frame 000 of clip {clip}" in alt for alt, clip in zip(alts, 8 * [EVIL] + 8 * ["one"], strict=True))
    for kind in ("noisy reference, noise low", "restored (high)", "ground truth", "residual"):
        assert any(kind in alt for alt in alts)


def test_pictures_are_crops_without_loss(folder: Path, results: Results, html: str):
    layer = next(x for x in Page(html).all("img") if x["alt"].startswith("restored (low), frame 000 of clip one"))
    coded = base64.b64decode(layer["src"].removeprefix("data:image/webp;base64,"))
    found = np.asarray(Image.open(io.BytesIO(coded)).convert("RGB"))
    shown = choose_frames(folder, results, 10**9)[0][1]
    (x, y), (height, width) = shown.corner, CROP
    saved = np.asarray(Image.open(folder / "low0_restored.png"))
    assert shown.clip == "one"
    assert np.array_equal(found, saved[y : y + height, x : x + width])


def test_frames_beyond_the_budget_are_left_out(folder: Path, results: Results):
    everything, none_left = choose_frames(folder, results, 10**9)
    shown, left_out = choose_frames(folder, results, everything[0].size + 1)
    assert (len(everything), none_left) == (2, 0)
    assert (len(shown), left_out) == (1, 1)
    assert len(choose_frames(folder, results, 0)[0]) == 1


def test_table_holds_the_numbers_of_the_results(results: Results, html: str):
    values = [
        float(x["data-value"]) for x in Page(html).all("td") if x.get("class") == "number" and x.get("data-value")
    ]

    def row(summary: Summary) -> list[float | None]:
        parts = (summary.all, summary.center, summary.border)
        return [*(x.psnr for x in parts), *(x.ssim for x in parts), summary.all.frames, 1.875]

    clips = [number for run in results.runs for clip in run.clips for number in row(clip)]
    means = [number for run in results.runs for number in (*row(run.mean), run.paper_psnr)]
    assert values == clips + means


def test_paper_stands_beside_complete_results_only(tmp_path: Path, html: str):
    partial = write_report(tmp_path, make_results(tmp_path, complete=False)).read_text(encoding="utf-8")
    assert ">36.06<" in html
    assert "Not the whole data set" not in html
    assert ">36.06<" not in partial
    assert "Not the whole data set" in partial
    assert "2 of 4 clips are missing" in partial


def test_only_columns_that_are_there_are_explained(tmp_path: Path, html: str):
    raw = write_report(tmp_path, make_results(tmp_path, truth=False, clips=("one",))).read_text(encoding="utf-8")
    for word in ("Border: the first", "center: the others"):
        assert word in html
        assert word not in raw
    assert "There is no ground truth" in raw
    assert "There is no ground truth" not in html


def test_curves_have_a_point_for_every_frame(results: Results, html: str):
    page = Page(html)
    assert len(page.all("circle")) == sum(len(run.frames) for run in results.runs)
    for frame in results.runs[1].frames:
        assert f"low, frame {frame.frame}: {frame.psnr:.3f} dB" in page.text


def test_offsets_become_arrows(html: str):
    paths = [x["d"] for x in Page(html).all("path") if x["class"].startswith("arrow")]
    # The tile at (0, 0) has its middle at (32, 32); 9 in 10 offsets are at most 12.65 long: drawn twice as long.
    assert paths[0].startswith("M32.0 32.0 L8.0 40.0 ")
    assert paths[1].endswith("M96 32h0")
    assert "(−12, 4)" in html
    assert "drawn 2 times as long" in html


def test_without_ground_truth(tmp_path: Path):
    page = Page(
        write_report(tmp_path, make_results(tmp_path, truth=False, clips=("scene",))).read_text(encoding="utf-8")
    )
    assert len(page.all("img")) == 5
    assert "PSNR" not in page.text
    assert not page.all("circle")


def test_missing_picture_is_named_and_nothing_written(tmp_path: Path):
    results = make_results(tmp_path, clips=("one",))
    (tmp_path / "high0_restored.png").unlink()
    with pytest.raises(UserError, match=r"high0_restored\.png"):
        write_report(tmp_path, results)
    assert not list(tmp_path.glob("*.html"))
