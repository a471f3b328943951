from pathlib import Path
from typing import Literal

import pytest
import torch

from twostagealign.archs.downsampler import LowResolutionFeatures
from twostagealign.data.stills.stills import StillsInMotion
from twostagealign.options import DATASETS, Node, build
from twostagealign.options.registry import FEATURES
from twostagealign.runtime.errors import UserError


class Camera:
    """Stands for any class that the options may name."""

    def __init__(
        self,
        folder: Path,
        size: int | tuple[int, int] = 8,
        gain: float = 1.0,
        order: Literal["RGGB", "BGGR"] = "RGGB",
        device: torch.device | None = None,
        *,
        frames: int = 5,
    ) -> None:
        if frames % 2 == 0:
            raise ValueError(f"frames: found {frames},\nexpected an odd number")
        if gain < 0:
            raise UserError("no such gain")
        self.values = (folder, size, gain, order, frames)


class Plain:
    """Has no constructor of its own."""


TABLE = {"Camera": Camera, "Plain": Plain}


def message_of(arguments: dict, type_name: str = "Camera", **from_code: object) -> str:
    node = Node(type_name, arguments, prefix="small.yml: datasets.train.")
    with pytest.raises(UserError) as caught:
        build(TABLE, node, **from_code)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_node_is_a_constructor_call() -> None:
    node = Node("Camera", {"folder": "a/b", "size": [4, 6], "gain": 2, "frames": 3})
    assert build(TABLE, node).values == (Path("a/b"), (4, 6), 2.0, "RGGB", 3)
    assert build(TABLE, {"type": "Camera", "folder": "x", "size": 4}, frames=7).values == (Path("x"), 4, 1.0, "RGGB", 7)
    assert isinstance(build(TABLE, {"type": "Plain"}), Plain)


def test_the_tables_hold_what_the_experiments_name() -> None:
    features = build(FEATURES, {"type": "LowResolutionFeatures", "channels": 8})
    assert isinstance(features, LowResolutionFeatures)
    assert features(torch.zeros(1, 4, 16, 16)).shape == (1, 8, 4, 4)
    bursts = build(DATASETS, {"type": "StillsInMotion", "source": "skimage", "size": [32, 48], "length": 3})
    assert isinstance(bursts, StillsInMotion)
    assert len(bursts) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, "folder: missing, expected a path; Camera needs it"),
        ({"folder": 3}, "folder: found 3, expected "),
        (
            {"folder": "x", "siz": 3},
            "siz: unknown argument of Camera, expected one of folder, size, gain, ",
        ),
        ({"folder": "x", "size": "3"}, "size: found '3', expected an integer or a list of 2 entries"),
        ({"folder": "x", "size": True}, "size: found True, expected an integer or a list of 2 entries"),
        ({"folder": "x", "gain": "3"}, "gain: found '3', expected a number"),
        ({"folder": "x", "gain": [3]}, "gain: found [3], expected a number"),
        ({"folder": "x", "gain": float("nan")}, "gain: found nan, expected a finite number"),
        ({"folder": "x", "order": "RGBG"}, "order: found 'RGBG', expected 'RGGB' or 'BGGR' (did you mean 'RGGB'?)"),
        ({"folder": "x", "frames": 3.0}, "frames: found 3.0, expected an integer"),
        ({"folder": "x", "device": "cpu"}, "device: found 'cpu', expected "),
    ],
)
def test_argument_that_does_not_fit(arguments: dict, expected: str) -> None:
    assert message_of(arguments).startswith(f"small.yml: datasets.train.{expected}")


def test_what_the_constructor_refuses_names_file_and_key() -> None:
    refused = "small.yml: datasets.train: frames: found 4, expected an odd number"
    assert message_of({"folder": "x", "frames": 4}) == refused
    assert message_of({"folder": "x"}, frames=4) == refused
    assert message_of({"folder": "x", "gain": -1}) == "small.yml: datasets.train: no such gain"


def test_unknown_type() -> None:
    expected = "small.yml: datasets.train.type: found 'Camra', expected one of Camera, Plain (did you mean 'Camera'?)"
    assert message_of({}, "Camra") == expected


def test_argument_of_a_class_without_any() -> None:
    expected = "small.yml: datasets.train.a: unknown argument of Plain, expected one of (none)"
    assert message_of({"a": 1}, "Plain") == expected


def test_argument_given_by_both_sides() -> None:
    assert "set by the program" in message_of({"folder": "x", "frames": 3}, frames=3)


@pytest.mark.parametrize("mapping", [{}, {"folder": "x"}, {"type": 3}, "Camera", None])
def test_mapping_that_is_no_node(mapping: object) -> None:
    with pytest.raises(UserError, match=r"^net\.pth: found .*, expected \{type: Name, argument: value, \.\.\.\}$"):
        build(TABLE, mapping, Path("net.pth"))


def test_mapping_from_another_file() -> None:
    with pytest.raises(UserError, match=r"^net\.pth: frames: found 'x', expected an integer$"):
        build(TABLE, {"type": "Camera", "folder": "x", "frames": "x"}, Path("net.pth"))
    with pytest.raises(UserError, match=r"^net\.pth: frames: found 4, expected an odd number$"):
        build(TABLE, {"type": "Camera", "folder": "x", "frames": 4}, Path("net.pth"))
