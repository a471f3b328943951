"""A folder that one process works in is closed to others, for as long as that process lives."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from twostagealign.runtime.errors import UserError
from twostagealign.runtime.locks import folder_lock

# Holds the lock, and has a forked child that outlives it; says so when the child is there.
HOLDER = """
    import os, sys, time
    from pathlib import Path
    from twostagealign.runtime.locks import folder_lock
    with folder_lock(Path(sys.argv[1])):
        if os.fork() == 0:
            print("locked", flush=True)
            os.close(1)
            time.sleep(20)
            os._exit(0)
        time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root" / "trial"


@pytest.fixture
def holder(folder: Path) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_the_loser_is_told_who_holds_the_lock(folder: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(UserError) as caught, folder_lock(folder):
        pytest.fail("two processes hold one lock")
    message = str(caught.value)
    assert message.startswith(f"{folder}: in use by {os.uname().nodename}, process {holder.pid}, since 20")
    assert "\n" not in message


def test_a_killed_process_releases_its_lock_at_once(folder: Path, holder: subprocess.Popen) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    with folder_lock(folder):
        pass


def test_another_folder_beside_it_is_free(folder: Path, holder: subprocess.Popen) -> None:
    with folder_lock(folder.with_name("other")):
        pass


def test_the_folder_may_be_renamed_while_it_is_locked(folder: Path) -> None:
    with folder_lock(folder):
        folder.mkdir()
        folder.rename(folder.with_name("archived"))
        folder.mkdir()
        with pytest.raises(UserError, match="in use by"), folder_lock(folder):
            pass


def test_nothing_is_left_behind(folder: Path) -> None:
    with pytest.raises(KeyError), folder_lock(folder):
        raise KeyError
    assert list(folder.parent.iterdir()) == []
    with folder_lock(folder):  # and it can be had again
        pass


def test_a_name_as_long_as_a_file_system_allows(folder: Path) -> None:
    with folder_lock(folder.with_name("n" * 255)):
        assert len(list(folder.parent.iterdir())) == 2
