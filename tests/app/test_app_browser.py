"""The page, used in headless Chromium with mouse and keyboard, as a person would."""

import io
import os
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rawpy
from PIL import Image

from twostagealign.cli.command import main
from twostagealign.data import write_picture

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 300  # seconds, on a busy machine

pytest.importorskip("selenium", reason="selenium is not installed")
pytest.importorskip("gradio", reason="gradio is not installed")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the page, served by the program on a free port."""
    command = [sys.executable, "-m", "twostagealign", "app", "--port", "0", "--device", "cpu"]
    folder = tmp_path_factory.mktemp("server")
    environment = os.environ | {"TMPDIR": str(folder)}
    with (folder / "errors").open("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=folder, env=environment
        )
        assert process.stdout
        address = process.stdout.readline().split(" ")[0]
        yield address
        process.terminate()
        process.wait(PATIENCE)
        errors.seek(0)
        assert "Traceback" not in errors.read()
    assert not list(folder.glob("twostagealign-*"))  # its files are deleted


@pytest.fixture
def page(chromium: "Chrome", resize: Callable[..., None], server: str) -> "Iterator[Chrome]":
    """The page, just opened at the size of a desk; in the end there may be no error in the console."""
    chromium.get_log("browser")
    resize(1280, 900)
    chromium.get(server)
    wait_for(chromium, "Drop the files")
    yield chromium
    assert [entry for entry in chromium.get_log("browser") if entry["level"] == "SEVERE"] == []


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for a change of the page. Its parts are drawn one by one, some time after what caused them.

    An element that is not there yet, is being drawn again or is covered is waited for, too.
    """
    from selenium.common.exceptions import (
        ElementClickInterceptedException,
        ElementNotInteractableException,
        NoSuchElementException,
        StaleElementReferenceException,
    )
    from selenium.webdriver.support.wait import WebDriverWait

    waited_for = (
        ElementClickInterceptedException,
        ElementNotInteractableException,
        NoSuchElementException,
        StaleElementReferenceException,
    )
    WebDriverWait(None, PATIENCE, 0.1, waited_for).until(lambda _: condition())


def line(page: "Chrome") -> str:
    """What the page says is going on."""
    return page.execute_script("return document.querySelector('#status .message')?.textContent ?? ''")


def wait_for(page: "Chrome", text: str) -> None:
    wait_until(lambda: text in line(page))


def text(page: "Chrome", selector: str) -> str:
    """The text of an element, as the page has it now."""
    return page.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)


def downloads(page: "Chrome") -> "list[WebElement]":
    return page.find_elements("css selector", "#downloads a")


def click(page: "Chrome", selector: str, text: str = "") -> None:
    """Click the element with this text, or with any, once it is there and can be used."""

    def clicked() -> bool:
        found = usable(page, selector, text)
        if found:
            found[0].click()
        return bool(found)

    wait_until(clicked)


def usable(page: "Chrome", selector: str, text: str = "") -> "list[WebElement]":
    """The elements with this text, or with any, that can be used now."""
    elements = page.find_elements("css selector", selector)
    return [each for each in elements if text in ("", each.text.strip()) and each.is_enabled()]


def press(page: "Chrome", label: str) -> None:
    """Click a button."""
    click(page, "button", label)


def choose(page: "Chrome", label: str) -> None:
    """Click a radio button."""
    click(page, "label", label)


def find(page: "Chrome", selector: str) -> "WebElement":
    """The element, once it is there."""
    wait_until(lambda: page.find_elements("css selector", selector))
    return page.find_element("css selector", selector)


def picture(page: "Chrome") -> np.ndarray:
    """The picture as it is seen, (height, width, 3)."""
    shot = page.find_element("css selector", "#viewer canvas").screenshot_as_png
    return np.array(Image.open(io.BytesIO(shot)).convert("RGB"))


def noise_at(page: "Chrome", place: float) -> float:
    """Noise of the picture in a flat area, a wall in the upper part; place: from left to right, 0 to 1."""
    seen = picture(page)
    y, x = round(0.2 * len(seen)), round(place * seen.shape[1])
    return float(seen[y : y + 24, x : x + 24, 1].std())


def set_slider(page: "Chrome", selector: str, value: float) -> None:
    slider = find(page, selector)
    page.execute_script(
        """const [slider, value] = arguments;
        slider.value = value;
        const bubbles = { bubbles: true };
        for (const kind of ["input", "change", "pointerup"]) slider.dispatchEvent(new Event(kind, bubbles));""",
        slider,
        value,
    )


WALL = 0.62  # where the example has a flat wall


def test_from_an_example_to_a_raw_converter(
    page: "Chrome", server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    press(page, "astronaut")
    wait_for(page, "Ready to restore")
    wait_until(lambda: len(page.find_elements("css selector", "#frames label")) == 5)
    press(page, "Restore")
    wait_for(page, "Restored in")
    wait_until(lambda: noise_at(page, WALL) < 4)  # right of the divide: restored

    # The divide, by keyboard and by mouse
    stage, split = (find(page, f"#viewer {each}") for each in (".stage", ".split"))
    split.send_keys(Keys.END)
    wait_until(lambda: split.get_attribute("aria-valuetext") == "100 % before, 0 % after")
    wait_until(lambda: noise_at(page, WALL) > 7)
    page.execute_script("arguments[0].scrollIntoView({ block: 'center' })", stage)
    middle = ActionChains(page, duration=20).move_to_element(stage).click_and_hold()
    middle.move_by_offset(-round(0.2 * stage.size["width"]), 0).release().perform()
    wait_until(lambda: float(split.get_property("value")) == pytest.approx(30, abs=1))
    wait_until(lambda: noise_at(page, WALL) < 4)

    # Strength does not run the network again
    before = line(page)
    set_slider(page, "#strength input[type=range]", 0)
    wait_until(lambda: noise_at(page, WALL) > 7)
    set_slider(page, "#strength input[type=range]", 1)
    wait_until(lambda: noise_at(page, WALL) < 4)
    assert line(page) == before

    # Zoom to pixels, by keyboard
    fitting = text(page, "#viewer output")
    assert fitting not in ("", "100 %")
    stage.send_keys("1")
    wait_until(lambda: text(page, "#viewer output") == "100 %")
    stage.send_keys("0")
    wait_until(lambda: text(page, "#viewer output") == fitting)

    # Matches are drawn
    click(page, "#viewer select option:nth-child(2)")
    wait_until(lambda: (picture(page) == (255, 214, 10)).all(axis=2).sum() > 100)

    # The DNG is that of the command line that the page shows
    wait_until(lambda: len(downloads(page)) == 4)
    links = {each.text: each.get_attribute("href") for each in downloads(page)}
    assert list(links) == ["PNG, 16 bits", "TIFF, 16 bits", "Linear DNG", "What was done (JSON)"]
    with urllib.request.urlopen(links["Linear DNG"]) as answer:
        (tmp_path / "page.dng").write_bytes(answer.read())
    wait_until(lambda: len(text(page, "#facts code").splitlines()) == 2)
    example, restore = text(page, "#facts code").splitlines()
    monkeypatch.chdir(tmp_path)
    for command in (example, f"{restore} --dng --device cpu"):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
    assert np.array_equal(samples(tmp_path / "page.dng"), samples(tmp_path / "restored" / "3.dng"))

    # Another reference frame, by clicking its thumbnail
    click(page, "#frames label:nth-child(2)")
    wait_for(page, "Ready to restore")
    wait_until(lambda: "frame 2, chosen by you" in text(page, "#facts"))
    wait_until(lambda: not downloads(page))
    chosen = "return document.querySelector('#reference input:checked')?.value"
    wait_until(lambda: page.execute_script(chosen) == "the clicked one")

    requests = page.execute_script("return performance.getEntriesByType('resource').map((each) => each.name)")
    assert {address for address in requests if not address.startswith((server, "data:", "blob:"))} == set()


def samples(path: Path) -> np.ndarray:
    with rawpy.imread(str(path)) as raw:
        return raw.raw_image_visible.copy()


def test_stop(page: "Chrome") -> None:
    choose(page, "as in the paper's protocol")
    press(page, "coffee")
    wait_for(page, "Ready to restore")

    def stopped() -> bool:
        """Press Stop, or Restore where it was over before that."""
        if "Stopped." not in line(page):
            for each in usable(page, "button", "Stop") or usable(page, "button", "Restore"):
                each.click()
        return "Stopped." in line(page)

    wait_until(stopped)
    assert not downloads(page)
    wait_until(lambda: usable(page, "button", "Restore"))


def upload(page: "Chrome", *files: Path) -> None:
    find(page, "#files input[type=file]").send_keys("\n".join(map(str, files)))


def test_a_burst_of_two_dark_pictures(page: "Chrome", tmp_path: Path) -> None:
    """Fewer frames than usual; automatic brightness."""
    pictures = [tmp_path / "1.png", tmp_path / "2.png"]
    for path in pictures:
        write_picture(path, np.full((48, 64, 3), 60, np.uint8))
    upload(page, *pictures)
    wait_for(page, "Ready to restore")
    press(page, "Restore")
    wait_for(page, "Restored in")
    dark = picture(page).mean()
    click(page, "#automatic input")
    wait_until(lambda: picture(page).mean() > dark + 10)
    wait_until(lambda: "automatic, +" in text(page, "#facts"))
    wait_until(lambda: "--brightness auto" in text(page, "#facts"))


def test_a_broken_file_is_one_line(page: "Chrome", tmp_path: Path) -> None:
    broken = tmp_path / "IMG_1234.dng"
    broken.write_bytes(b"II*\0" + bytes(1000))
    upload(page, broken)
    wait_for(page, "IMG_1234.dng: ")
    assert "\n" not in line(page)
    wait_until(lambda: page.find_elements("css selector", ".tsa-status.error"))
    press(page, "coffee")  # the page can be used on
    wait_for(page, "Ready to restore")


def test_a_closed_tab_leaves_no_work(page: "Chrome") -> None:
    choose(page, "as in the paper's protocol")
    press(page, "coffee")
    wait_for(page, "Ready to restore")
    wait_until(lambda: page.find_elements("css selector", "#frames img"))
    thumbnail = page.execute_script("return document.querySelector('#frames img').src")
    assert status(thumbnail) == 200
    press(page, "Restore")
    wait_for(page, "...")
    page.get("about:blank")
    wait_until(lambda: status(thumbnail) == 404)  # the session has ended
    page.get_log("browser")  # Gradio says that its requests were cut off


def status(address: str) -> int:
    try:
        with urllib.request.urlopen(address) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_pages_of_other_sites_get_no_answer(server: str) -> None:
    request = urllib.request.Request(server, headers={"Host": "example.org"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)


def test_phone_and_dark_mode(page: "Chrome", resize: Callable[..., None]) -> None:
    press(page, "coffee")
    wait_for(page, "Ready to restore")
    for width in (320, 390, 640):  # the last: a desk at 200 %
        resize(width, 844)
        wait_until(lambda width=width: page.execute_script("return document.documentElement.scrollWidth") <= width)
    resize(390, 844, "dark")
    wait_until(lambda: background(page) < 200)


def background(page: "Chrome") -> float:
    """Sum of red, green and blue, each up to 255."""
    colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    return sum(map(float, colour.removeprefix("rgb(").removesuffix(")").split(",")))


def test_every_control_has_a_name(page: "Chrome") -> None:
    roles = {"button", "slider", "combobox", "radio", "checkbox", "spinbutton", "link", "textbox", "listbox"}

    def controls() -> list[dict[str, dict[str, str]]]:
        nodes = page.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        return [node for node in nodes if node.get("role", {}).get("value") in roles and not node.get("ignored")]

    wait_until(lambda: len(controls()) > 10)
    assert [node["role"]["value"] for node in controls() if not node.get("name", {}).get("value", "").strip()] == []
