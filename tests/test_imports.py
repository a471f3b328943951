"""Imports go down only, as CONTRIBUTING.md draws it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import twostagealign

PACKAGE = Path(twostagealign.__file__).parent
FLOORS = (
    {"isp", "ops", "merging", "metrics"},
    {"archs", "matching", "data"},
    {"losses"},
    {"options"},
    {"models"},
    {"restoration"},
    {"training", "evaluation"},
    {"studies"},
    {"api"},
    {"app"},
    {"cli"},
)
"""Folders of the package from the ground up. A folder imports lower floors only; `runtime` is below all of them."""


def allowed(folder: str) -> set[str]:
    """Folders that a folder may import, besides itself."""
    if folder == "runtime":
        return set()
    height = next(height for height, floor in enumerate(FLOORS) if folder in floor)
    return {"runtime"}.union(*FLOORS[:height])


def imported(source: str, module: str) -> set[str]:
    """Names of the package's folders and modules that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            base += node.module.split(".") if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return {name.split(".")[1] for name in found if name.startswith("twostagealign.")}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import twostagealign.training.trainer", {"training"}),
        ("import numpy, twostagealign.data as d", {"data"}),
        ("from twostagealign import models, isp", {"models", "isp"}),
        ("from twostagealign.options.load import load_options", {"options"}),
        ("def f():\n    from ..restoration import tiling", {"restoration"}),
        ("from .camera import Camera", {"isp"}),
        ("from . import camera", {"isp"}),
        ("from .. import archs", {"archs"}),
        ("import torch\nfrom torch import nn", set()),
        ("import twostagealignment.training", set()),
    ],
)
def test_every_way_to_import_is_seen(source: str, expected: set[str]) -> None:
    assert imported(source, "twostagealign.isp.process") == expected


def modules(folder: str) -> list[Path]:
    return sorted((PACKAGE / folder).rglob("*.py"))


def folders() -> list[str]:
    return sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))


def test_every_folder_has_a_floor() -> None:
    assert set(folders()) == {"runtime"}.union(*FLOORS)
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "__main__.py"]


@pytest.mark.parametrize("folder", folders())
def test_imports_go_down(folder: str) -> None:
    for path in modules(folder):
        module = ".".join(["twostagealign", *path.relative_to(PACKAGE).with_suffix("").parts])
        forbidden = imported(path.read_text(encoding="utf-8"), module) - allowed(folder) - {folder}
        assert not forbidden, f"{path} imports {', '.join(sorted(forbidden))}"


def test_the_page_uses_the_public_interface_only() -> None:
    for path in modules("app"):
        module = ".".join(["twostagealign", *path.relative_to(PACKAGE).with_suffix("").parts])
        assert imported(path.read_text(encoding="utf-8"), module) <= {"app"}, path


def test_no_private_name_is_imported() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("twostagealign")):
                private = [alias.name for alias in node.names if alias.name.startswith("_")]
                assert not private, f"{path} imports {', '.join(private)} of {node.module}"


def test_only_the_top_knows_the_entry_points() -> None:
    """Scripts are started, not imported: nothing in the package imports a file beside it."""
    scripts = {path.stem for path in PACKAGE.parent.glob("*.py")}
    assert "train" in scripts
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            assert not scripts & {name.split(".")[0] for name in names}, path


RARE = {"torchvision", "torch._dynamo", "scipy.stats"}
"""Together these take longer to import than torch itself."""


def test_programs_start_without_what_they_rarely_need() -> None:
    program = f"""
import runpy, sys
for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit:
        pass
sys.exit(str({RARE} & set(sys.modules)))
"""
    scripts = sorted(map(str, PACKAGE.parent.glob("*.py")))
    finished = subprocess.run([sys.executable, "-c", program, *scripts], capture_output=True, text=True, check=False)
    assert finished.stdout.count("usage: ") == len(scripts) > 4
    assert finished.stderr == "set()\n"


def test_pictures_are_measured_without_what_is_rarely_needed() -> None:
    program = f"""
import sys, torch
sys.path.insert(0, sys.argv[1])
from twostagealign.metrics import finite_psnr, ssim
picture = torch.zeros(3, 16, 16)
finite_psnr(picture, picture), ssim(picture, picture)
sys.exit(str({RARE} & set(sys.modules)))
"""
    command = [sys.executable, "-c", program, str(PACKAGE.parent)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.stderr == "set()\n"
