"""`import twostagealign`: what it offers, and what it costs."""

import inspect
import subprocess
import sys

import pytest

import twostagealign as tsa
from twostagealign import api


def test_the_public_names_are_those_of_the_api() -> None:
    assert tsa.__all__ == api.__all__
    assert set(tsa.__all__) <= set(dir(tsa))
    for name in tsa.__all__:
        thing = getattr(tsa, name)
        assert thing is getattr(api, name)
        assert inspect.getdoc(thing)


def test_other_names_are_not_there() -> None:
    with pytest.raises(AttributeError, match="restoer"):
        tsa.restoer  # noqa: B018


def test_import_alone_loads_nothing() -> None:
    program = "import sys, twostagealign; print({'torch', 'numpy', 'pydantic'} & set(sys.modules))"
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert finished.stdout == "set()\n"
