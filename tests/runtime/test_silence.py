"""Libraries that print, called by several threads."""

import os
import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from twostagealign.runtime.silence import no_warnings, silence


def enter_in_turn(context: AbstractContextManager[None], make_noise: Callable[[str], object]) -> None:
    """Two threads enter; the first one leaves while the second one is inside, which then makes noise."""
    second_is_inside = threading.Event()
    first_has_left = threading.Event()

    def second() -> None:
        with context:
            second_is_inside.set()
            assert first_has_left.wait(60)
            make_noise("inside")

    thread = threading.Thread(target=second)
    with context:
        thread.start()
        assert second_is_inside.wait(60)
    first_has_left.set()
    thread.join()
    make_noise("after")


def test_warnings() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        enter_in_turn(no_warnings, warnings.warn)
    assert [str(each.message) for each in seen] == ["after"]


def test_file_descriptor_2(capfd: pytest.CaptureFixture[str]) -> None:
    enter_in_turn(silence, lambda text: os.write(2, text.encode()))
    assert capfd.readouterr().err == "after"


def test_errors_pass() -> None:
    with pytest.raises(KeyError), no_warnings, silence:
        raise KeyError
