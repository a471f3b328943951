"""Scaling is computed as the formulas say, and docs/SCALING.md shows what scripts/scaling.py prints."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from twostagealign.runtime.errors import UserError
from twostagealign.studies.scaling import (
    Cluster,
    Numbers,
    Training,
    check_table,
    predict,
    scaling_table,
    write_page,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Calls scripts/scaling.py with arguments."""

    def call(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["scaling.py", *arguments])
        runpy.run_path(str(ROOT / "scripts" / "scaling.py"), run_name="scaling")["main"]()

    return call


@pytest.fixture
def numbers() -> Numbers:
    """A burst is one TFLOP, a step a thousand operations; weights are 250 million: gradients of 1 GB."""
    return Numbers(
        machine={},
        parameters=250_000_000,
        flops=1e12,
        operations=1000,
        bursts_per_core={"store": 10.0},
        training=Training(parameters=1000, batch=2, bursts_per_second={1: 4.0, 2: 6.0}, all_reduce=0.1),
    )


@pytest.fixture
def cluster() -> Callable[..., Cluster]:
    """100 TFLOP/s, 100 GB/s inside a machine of 8, 10 GB/s outside, no latency, more cores than are needed."""
    return lambda **other: Cluster(
        **{"rate": 100, "launch": 1, "inside": 100, "outside": 10, "latency": 0, "cores": 10**6} | other
    )


def test_one_gpu_computes_or_waits_for_launches_or_for_data(numbers, cluster) -> None:
    assert predict(numbers, cluster(), 1, 4, "store").whole == pytest.approx(0.04)
    assert predict(numbers, cluster(launch=50), 1, 4, "store").whole == pytest.approx(0.05)
    assert predict(numbers, cluster(cores=2), 1, 4, "store").whole == pytest.approx(0.2)


def test_the_exchange_is_hidden_behind_the_backward_pass(numbers, cluster) -> None:
    inside = predict(numbers, cluster(), 8, 4, "store")
    assert inside.exchange == pytest.approx(2 * 7 / 8 * 0.01)
    assert inside.whole == pytest.approx(0.04)
    outside = predict(numbers, cluster(), 64, 4, "store")
    assert outside.exchange == pytest.approx(2 * 63 / 64 * 0.1)
    assert outside.whole == pytest.approx(0.04 + outside.exchange - 0.04 * 2 / 3)
    late = predict(numbers, cluster(latency=1000), 64, 4, "store")
    assert late.exchange - outside.exchange == pytest.approx(2 * 63 * 1e-3)
    halved = predict(numbers, cluster(bytes=2), 64, 4, "store")
    assert halved.exchange == pytest.approx(outside.exchange / 2)


def test_accumulation_exchanges_once(numbers, cluster) -> None:
    once = predict(numbers, cluster(), 64, 4, "store")
    four = predict(numbers, cluster(), 64, 4, "store", accumulate=4)
    assert four.whole - once.whole == pytest.approx(3 * 0.04)


def test_the_table_says_what_bounds(numbers, cluster) -> None:
    rows = {tuple(row.split(" | ")[:2]): row for row in scaling_table(numbers, cluster(), "store")[2:]}
    assert rows["| 1", "1"] == "| 1 | 1 | 1 | 1200000 | 10.0 ms | 100 | 3.33 | 100 % | compute |"
    assert rows["| 64", "8"].startswith("| 64 | 8 | 512 | 2344 | ")
    assert rows["| 64", "1"].endswith("exchange |")
    assert scaling_table(numbers, cluster(launch=100), "store")[2].endswith("launches |")
    assert scaling_table(numbers, cluster(cores=1), "store")[2].endswith("data |")


def test_two_processes_are_predicted_from_one(numbers) -> None:
    """A step of two bursts takes 0.5 s, with the exchange at most 0.6 s."""
    assert check_table(numbers)[-1] == "| 2 | 6.00 | 6.67 to 8.00 |"


def test_the_page_shows_what_the_script_prints(main, capsys, tmp_path) -> None:
    page = ROOT / "docs" / "SCALING.md"
    copy = tmp_path / "page.md"
    copy.write_bytes(page.read_bytes())
    main("--page", str(copy))
    assert copy.read_text() == page.read_text()
    assert capsys.readouterr().out.count("|---|") > 3


def test_a_page_without_marks_stays(tmp_path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- facts -->\n")
    with pytest.raises(UserError, match="no '<!-- facts -->' followed by '<!-- end -->'"):
        write_page(page, {"facts": "none"})
    assert page.read_text() == "<!-- facts -->\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nothing.json"], "nothing.json: No such file|nothing.json: no such file"),
        ([str(ROOT / "pyproject.toml")], "not a file that --measure has written"),
        (["--store", "tape"], "--store: found 'tape', expected one of: "),
        (["--rate", "0"], "--rate: "),
    ],
)
def test_mistakes(main, arguments: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        main(*arguments)
