"""The report of a true evaluation, used in headless Chromium with mouse and keyboard."""

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from twostagealign.data import bundled_picture, write_picture
from twostagealign.evaluation.results import Results, read_results

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin
    from selenium.webdriver.remote.webelement import WebElement

CODES = Path(__file__).parents[1] / "codes"

pytest.importorskip("selenium", reason="selenium is not installed")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """Report of two short clips at two levels of noise, made by the test script itself."""
    folder = tmp_path_factory.mktemp("evaluation")
    picture = bundled_picture("chelsea")
    for clip, corner in (("000", (60, 120)), ("011", (100, 200))):
        (folder / "data" / clip).mkdir(parents=True)
        for index in range(3):
            y, x = np.add(corner, (2 * index, 4 * index))
            write_picture(folder / "data" / clip / f"{index:08d}.png", picture[y : y + 96, x : x + 128])
    script, options = CODES / "test_REDS4.py", CODES.parent / "options/test/REDS4.yml"
    arguments = ["-opt", options, "--data", folder / "data", "--checkpoint", tiny_checkpoint, "--noise", "both"]
    arguments += ["--force_yml", "frames=3", "tiling:patch=32", "tiling:search_window=16", "--report"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), *map(str, arguments), "--results", str(folder), "--name", "mine"])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(script), run_name="__main__")
    assert not caught.value.code
    return folder / "mine" / "report.html"


@pytest.fixture(scope="module")
def results(report: Path) -> Results:
    return read_results(report.with_name("results.json"))


@pytest.fixture
def page(chromium: "Chrome", resize: Callable[..., None], report: Path) -> "Iterator[Chrome]":
    """The report, just opened at the size of a desk; in the end there may be no message in the console."""
    chromium.get_log("browser")
    resize(1280, 900)
    chromium.get(report.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []


def find(page: "Chrome", selector: str) -> "WebElement":
    """The first element of a CSS selector, scrolled to."""
    element = page.find_element("css selector", selector)
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    return element


def column(page: "Chrome", body: int, number: int) -> list[str]:
    return page.execute_script(
        """const rows = [...document.querySelector("#summary").tBodies[arguments[0]].rows];
        return rows.map((row) => row.cells[arguments[1]].dataset.value);""",
        body,
        number,
    )


def computed(page: "Chrome", selector: str, name: str) -> str:
    return page.execute_script(
        "return getComputedStyle(document.querySelector(arguments[0])).getPropertyValue(arguments[1])", selector, name
    )


def span(element: "WebElement") -> tuple[float, float]:
    """Left edge and width of an element as it is seen, zoomed."""
    box = element.parent.execute_script("return arguments[0].getBoundingClientRect().toJSON()", element)
    return box["x"], box["width"]


def drag(page: "Chrome", element: "WebElement", start: float, end: float) -> None:
    """Press the mouse at a part of the element's width, a third down, and release it at another."""
    from selenium.webdriver import ActionChains

    width, height = element.size["width"], element.size["height"]
    actions = ActionChains(page, duration=20)
    actions.move_to_element_with_offset(element, round(width * (start - 0.5)), -round(height / 6)).click_and_hold()
    actions.move_by_offset(round(width * (end - start)), 0).release().perform()


def test_table_is_sorted_by_mouse_and_keyboard(page: "Chrome", results: Results):
    from selenium.webdriver.common.keys import Keys

    headers = page.find_elements("css selector", "#summary th button")
    number = next(index for index, header in enumerate(headers) if header.text == "PSNR (dB)")
    truth = sorted(clip.all.psnr for run in results.runs for clip in run.clips)
    header = page.find_elements("css selector", "#summary thead th")[number]
    headers[number].click()
    assert [float(x) for x in column(page, 0, number)] == truth[::-1]
    assert header.get_attribute("aria-sort") == "descending"
    headers[number].send_keys(Keys.ENTER)
    assert [float(x) for x in column(page, 0, number)] == truth
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, 1, 0) == ["mean", "mean"]  # stay below
    headers[0].click()
    assert column(page, 0, 0) == ["000", "000", "011", "011"]
    assert header.get_attribute("aria-sort") is None


def test_divide_follows_mouse_and_keyboard(page: "Chrome"):
    from selenium.webdriver.common.keys import Keys

    slider, stage = find(page, ".split"), find(page, ".compare .stage")
    clip = page.find_element("css selector", ".layer.right")
    drag(page, stage, 0.5, 0.25)
    assert float(slider.get_property("value")) == pytest.approx(25, abs=1)
    assert clip.value_of_css_property("clip-path").endswith(f"{slider.get_property('value')}%)")
    slider.send_keys(Keys.HOME)
    assert clip.value_of_css_property("clip-path").endswith("0%)")
    slider.send_keys(Keys.END, Keys.ARROW_LEFT)
    assert clip.value_of_css_property("clip-path").endswith("99.5%)")
    stage.send_keys(Keys.ARROW_LEFT)
    assert float(slider.get_property("value")) == 97.5
    assert slider.get_attribute("aria-valuetext") == "98 % noisy (high), the rest restored (high)"


def test_any_two_pictures_can_be_compared(page: "Chrome"):
    from selenium.webdriver.support.select import Select

    find(page, ".compare")
    for side, label, words in (("left", "restored (low)", "restored (low)"), ("right", "ground truth", "ground truth")):
        Select(page.find_element("css selector", f".pick[data-side={side}]")).select_by_visible_text(label)
        assert page.find_element("css selector", f".layer.{side} img").get_attribute("alt").startswith(words)
        assert page.find_element("css selector", f".tag.{side}").text == label
    shown = [x for x in page.find_elements("css selector", ".frame:first-of-type .layer") if x.is_displayed()]
    assert len(shown) == 2


def test_zoom_to_pixels(page: "Chrome"):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    stage, output = find(page, ".compare .stage"), page.find_element("css selector", ".zoom output")
    image = page.find_element("css selector", ".layer.left img")
    residual = page.find_element("css selector", ".still img")
    (left, width), (_, residual_width) = span(stage), span(residual)
    find(page, "[data-zoom=in]").click()
    assert output.text == "2×"
    assert span(image)[1] == pytest.approx(2 * width, rel=0.01)
    assert span(residual)[1] == pytest.approx(2 * residual_width, rel=0.01)
    assert image.value_of_css_property("image-rendering") == "pixelated"
    find(page, ".compare .stage").send_keys("+")
    assert output.text == "4×"
    before, _ = span(image)
    stage.send_keys(Keys.ARROW_RIGHT)
    assert span(image)[0] == pytest.approx(before - 0.1 * width, abs=2)
    drag(page, stage, 0.7, 0.8)  # away from the divide: the picture
    assert span(image)[0] == pytest.approx(before, abs=3)
    assert page.find_element("css selector", ".split").get_property("value") == "50"
    ActionChains(page).scroll_from_origin(origin(stage), 0, -200).perform()
    assert output.text == "8×"
    stage.send_keys("0")
    assert output.text == "1×"
    assert span(image) == (left, width)


def origin(element: "WebElement") -> "ScrollOrigin":
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    return ScrollOrigin.from_element(element)


def test_wheel_scrolls_the_page_unless_the_picture_was_clicked(page: "Chrome"):
    from selenium.webdriver import ActionChains

    stage = find(page, ".compare .stage")
    ActionChains(page).scroll_from_origin(origin(stage), 0, 100).perform()
    assert page.find_element("css selector", ".zoom output").text == "1×"


def test_run_is_chosen(page: "Chrome", results: Results):
    from selenium.webdriver.support.select import Select

    for name, run in zip(("high", "low"), results.runs, strict=True):
        Select(find(page, "select.run")).select_by_visible_text(name)
        frame = next(frame for frame in run.frames if frame.pictures)
        qualities = page.find_elements("css selector", ".frame:first-of-type .quality")
        assert [x.text for x in qualities if x.is_displayed()] == [f"{frame.psnr:.2f} dB, SSIM {frame.ssim:.4f}"]
        residuals = page.find_elements("css selector", ".frame:first-of-type .still img")
        assert [name in x.get_attribute("alt") for x in residuals if x.is_displayed()] == [True]


def test_all_pictures_are_decoded(page: "Chrome"):
    page.set_script_timeout(20)
    decoded = page.execute_async_script(
        """const done = arguments[0];
        Promise.all([...document.images].map((x) => x.decode())).then((all) => done(all.length));"""
    )
    assert decoded == 2 * (5 + 2 + 1)


def test_dark_mode(page: "Chrome", resize: Callable[..., None]):
    def brightness(name: str) -> float:
        return sum(map(float, computed(page, "body", name).removeprefix("rgb(").removesuffix(")").split(","))) / 3

    assert brightness("background-color") > 200 > 100 > brightness("color")
    resize(1280, 900, "dark")
    assert brightness("background-color") < 60 < 200 < brightness("color")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_to_the_right(page: "Chrome", resize: Callable[..., None], width: int):
    resize(width, 844)
    page.execute_script("window.scrollTo(1000, 0)")
    assert page.execute_script("return window.scrollX") == 0
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_divide_follows_a_finger(page: "Chrome", resize: Callable[..., None]):
    resize(390, 844)
    page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        find(page, ".compare .stage")
        box = page.execute_script("return document.querySelector('.compare .stage').getBoundingClientRect().toJSON()")
        y = box["y"] + box["height"] / 2
        for kind, part in (("touchStart", 0.5), ("touchMove", 0.6), ("touchMove", 0.75)):
            points = [{"x": box["x"] + part * box["width"], "y": y}]
            page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        assert float(find(page, ".split").get_property("value")) == pytest.approx(75, abs=1)
    finally:
        page.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
