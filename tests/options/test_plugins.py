import itertools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from twostagealign.models.checkpoint import open_restorer, save_weights
from twostagealign.options import Node, build, load_options
from twostagealign.options.plugins import Registry, import_plugin
from twostagealign.options.registry import DATASETS, NETWORKS
from twostagealign.runtime.errors import UserError
from twostagealign.training.build import build_trainer

NET = """
from subprocess import Popen
import torch
from torch import nn

class MyNet(nn.Module):
    def __init__(self, channels: int = 4, **others: float) -> None:
        super().__init__()
        self.layer = nn.Conv2d(8, channels, 1)
        self.out = nn.Conv2d(channels, 12, 1)

    def forward(self, lq, noise_map, interpolation=False):
        features = self.layer(torch.cat((lq, noise_map), dim=2).mean(dim=1))
        return nn.functional.pixel_shuffle(self.out(features), 2)
"""
_numbers = itertools.count()


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module that Python finds, and returns its name, which no other test has used."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(content: str) -> str:
        package = tmp_path / f"lab{next(_numbers)}"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "nets.py").write_text(content)
        return f"{package.name}.nets"

    return write


def message_of(function: Callable, *arguments: object) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_an_option_file_may_name_a_class_of_any_module(write_module, tiny_experiment: Path) -> None:
    module = write_module(NET)
    options = load_options(tiny_experiment, [f"network={{type: {module}.MyNet, channels: 6}}"])
    trainer = build_trainer(options)
    assert trainer.restorer.network.layer.out_channels == 6
    assert trainer.metadata["network"] == {"type": f"{module}.MyNet", "channels": 6}


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ("{type: {m}.MyNt}", "type: found '{m}.MyNt', but module {m} defines no MyNt"),
        ("{type: {m}.MyNet, channels: x}", "channels: found 'x', expected an integer"),
        ("{type: {m}.Popen}", "type: found '{m}.Popen': no network, since it lacks forward, state_dict"),
        ("{type: {m}.torch}", "type: found '{m}.torch': no network, since it cannot be called"),
        ("{type: {m}.nn.MyNet}", "type: no module {m}.nn; install its package, or add its folder to PYTHONPATH"),
        ("{type: nowhere_at_all.MyNet}", "type: no module nowhere_at_all; install its package, or add its folder"),
        ("{type: ../x.MyNet}", "type: found '../x', expected the name of a module, such as my_lab.nets"),
    ],
)
def test_names_in_an_option_file_that_lead_nowhere(write_module, tiny_experiment, node: str, expected: str) -> None:
    module = write_module(NET)
    override = f"network={node.replace('{m}', module)}"
    expected = f"{tiny_experiment} --force_yml {override}: network.{expected.replace('{m}', module)}"
    assert message_of(load_options, tiny_experiment, [override]).startswith(expected)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("import torch\n\n1 / 0", "ZeroDivisionError: division by zero ({path}, line 3)"),
        ("def", "SyntaxError: invalid syntax ({path}, line 1)"),
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all' ({path}, line 1)"),
    ],
)
def test_a_module_that_cannot_be_imported(write_module, tmp_path, content: str, expected: str) -> None:
    module = write_module(content)
    path = tmp_path / module.replace(".", "/")
    assert message_of(import_plugin, module) == f"--import: module {module}: {expected.format(path=f'{path}.py')}"


def test_a_checkpoint_imports_nothing(write_module, tmp_path, make_restorer, nodes) -> None:
    module = write_module(f"print('imported')\n{NET}")
    path = tmp_path / "net.safetensors"
    save_weights(path, make_restorer().state_dict(), nodes | {"network": {"type": f"{module}.MyNet"}})
    package = module.partition(".")[0]
    expected = f"{path}: type: found '{module}.MyNet', a network outside this package; to use its code, pass --import "
    assert message_of(open_restorer, path) == expected + module
    assert not {package, module} & set(sys.modules)
    import_plugin(package)  # does not load the module
    assert message_of(open_restorer, path) == expected + module
    assert module not in sys.modules


def test_a_checkpoint_names_only_what_the_user_has_asked_for(write_module, tmp_path, make_restorer, nodes) -> None:
    """Not other modules that happen to be loaded, and no classes that are not networks."""
    module = write_module(NET)
    import_plugin(module)
    path = tmp_path / "net.safetensors"
    for name, expected in (
        ("torch.nn.Linear", "a network outside this package; to use its code, pass --import torch.nn"),
        (f"{module}.Popen", "no network, since it lacks forward, state_dict"),
        (f"{module}.nn.Linear", f"a network outside this package; to use its code, pass --import {module}.nn"),
    ):
        save_weights(path, make_restorer().state_dict(), nodes | {"network": {"type": name, "args": "true"}})
        assert message_of(open_restorer, path).endswith(expected)


def test_a_checkpoint_is_opened_with_the_code_that_the_user_names(write_module, tmp_path, nodes, make_restorer) -> None:
    module = write_module(NET)
    import_plugin(module)
    restorer = make_restorer()
    restorer.network = build(NETWORKS, {"type": f"{module}.MyNet", "channels": 5})
    path = tmp_path / "net.safetensors"
    save_weights(path, restorer.state_dict(), nodes | {"network": {"type": f"{module}.MyNet", "channels": 5}})
    found = open_restorer(path).network
    assert type(found).__module__ == module
    assert torch.equal(found.layer.weight, restorer.network.layer.weight)


class Shape:
    def area(self) -> float:
        return 1.0


@pytest.fixture
def shapes() -> Registry:
    return Registry("shape", {"Shape": Shape}, needs=("area",))


def test_registered_names(shapes: Registry) -> None:
    @shapes.register
    class Square(Shape):
        """Inherits what a shape needs."""

    assert list(shapes) == ["Shape", "Square"]
    assert isinstance(build(shapes, {"type": "Square"}), Square)
    assert shapes.reference("Shape") == "Shape"
    full = shapes.reference("Square")
    assert full.startswith(f"{__name__}.")
    assert shapes[full] is Square
    assert shapes.register(Square) is Square  # the same class again
    message = message_of(build, shapes, Node("Sqare"))
    assert message == "type: found 'Sqare', expected one of Shape, Square (did you mean 'Square'?)"


def test_names_that_cannot_be_registered(shapes: Registry) -> None:
    class Other:
        """Lacks what a shape needs."""

    with pytest.raises(ValueError, match=r"Other: no shape, since it lacks area$"):
        shapes.register(Other)
    other = type("Shape", (Shape,), {})
    with pytest.raises(ValueError, match=r"shape Shape: registered already, by .*Shape; choose another name"):
        shapes.register(other)
    with pytest.raises(ValueError, match="no shape, since it is not a class"):
        shapes.register(print)


def test_the_registries_of_the_package_refuse_what_is_of_another_kind() -> None:
    with pytest.raises(ValueError, match="TwoStageNet: no training set, since it lacks __len__, "):
        DATASETS.register(NETWORKS["TwoStageNet"])


def test_further_arguments_of_a_constructor(write_module) -> None:
    """**others takes any, of its type; what the program gives must be taken."""
    module = write_module(NET)
    import_plugin(module)
    build(NETWORKS, {"type": f"{module}.MyNet", "a": 1.5})
    build(NETWORKS, {"type": f"{module}.MyNet"}, b=2)
    message = message_of(lambda: build(NETWORKS, {"type": "SingleFrameNet"}, "x.yml", folder="y"))
    assert message == "x.yml: type: the constructor of SingleFrameNet takes no argument 'folder'"
