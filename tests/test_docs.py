"""The examples in docs/API.md and README.md run; those in docs/EXTENDING.md are of a package that other tests run."""

import doctest
import re
from pathlib import Path

import pytest
import torch

from twostagealign.data import write_raw_folder
from twostagealign.isp import protocol_camera
from twostagealign.options import load_options

ROOT = Path(__file__).parents[1]


def examples(page: str) -> str:
    """All Python examples of a page, one after the other."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a small raw burst of seven frames in it, made the current one."""
    mosaics = torch.full((7, 38, 54), 0.3)
    write_raw_folder(tmp_path / "burst", mosaics, protocol_camera(), 2.5e-3, 1e-2, "GBRG", [64] * 4, 1023)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_api_page(folder: Path) -> None:
    page = doctest.DocTestParser().get_doctest(examples("docs/API.md"), {}, "docs/API.md", "docs/API.md", 0)
    report: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(page, out=report.append)
    assert result.attempted > 20
    assert not result.failed, "".join(report)
    assert {path.name for path in folder.iterdir()} == {
        "burst",
        *(f"restored.{suffix}" for suffix in ("png", "tif", "jpg", "dng")),
    }


def test_readme(folder: Path) -> None:
    program = examples("README.md")
    assert "tsa.load" in program
    exec(program, {})
    assert (folder / "restored.png").is_file()


def test_extending_page(tmp_path: Path) -> None:
    page = (ROOT / "docs/EXTENDING.md").read_text()
    blocks = re.findall(r"^```python\n# (\S+)\n(.*?)^```", page, re.M | re.DOTALL)
    assert [name for name, _ in blocks] == ["my_lab/nets.py", "my_lab/losses.py", "my_lab/metrics.py"]
    for name, code in blocks:
        source = (ROOT / "tests" / "data" / "plugin" / name).read_text()
        assert all(line.removesuffix('"""') in source for line in code.splitlines())
    (option_file,) = re.findall(r"^```yaml\n(.*?)^```", page, re.M | re.DOTALL)
    (tmp_path / "shallow.yml").write_text(option_file)
    assert "type: ShallowNet" in option_file
    options = load_options(tmp_path / "shallow.yml", ["network={type: SingleFrameNet, nf: 16}"])
    assert (options.name, options.matching.search_window) == ("shallow", 48)
