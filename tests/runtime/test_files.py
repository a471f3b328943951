import json
import math
import os
import socket
import sys
from pathlib import Path

import pytest

from twostagealign.runtime import files
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import (
    check_regular,
    checked_path,
    link_or_copy,
    locate,
    open_regular,
    read_regular,
    write_atomically,
    write_json,
)


def test_a_path_is_looked_up_here_and_then_in_the_repository(tmp_path, monkeypatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "both").touch()
    (there / "far").touch()
    monkeypatch.chdir(here)
    monkeypatch.setattr(files, "SHIPPED", there)
    assert locate(Path("both")) == Path("both")
    assert locate(Path("far")) == there / "far"
    assert locate(Path("none")) == Path("none")
    assert locate(here / "none") == here / "none"


def test_what_is_written_has_the_rights_of_a_new_file(tmp_path) -> None:
    """Whatever rights the writer gives it."""

    def write(temporary: Path) -> None:
        temporary.unlink()
        os.close(os.open(temporary, os.O_CREAT | os.O_WRONLY, 0o600))

    (tmp_path / "plain").touch()
    write_atomically(tmp_path / "written", write)
    assert (tmp_path / "written").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("links", [True, False])
def test_a_second_name_replaces_what_had_it(tmp_path, monkeypatch, links) -> None:
    def no_links(source, target):
        raise OSError("no links here")

    (tmp_path / "a").write_text("new")
    (tmp_path / "b").write_text("old")
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    link_or_copy(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "new"
    assert (tmp_path / "a").samefile(tmp_path / "b") == links
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b"}


def test_a_write_that_fails_leaves_what_was_there(tmp_path) -> None:
    def write(temporary: Path) -> None:
        temporary.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "a").write_text("old")
    with pytest.raises(UserError, match=r"a: cannot be written \(No space left on device\)"):
        write_atomically(tmp_path / "a", write)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_a_file_on_the_disk_is_followed_by_its_folder(tmp_path, monkeypatch) -> None:
    """After a power cut the new name must be there too."""
    synced: list[int] = []
    sync = os.fsync

    def watch(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    write_atomically(tmp_path / "a", lambda temporary: temporary.write_text("new"))
    assert synced == [(tmp_path / "a").stat().st_ino, tmp_path.stat().st_ino]


def test_json_has_no_infinite_numbers(tmp_path) -> None:
    write_json(tmp_path / "a", {"psnr": 1.5, "name": "é"})
    assert json.loads((tmp_path / "a").read_text()) == {"psnr": 1.5, "name": "é"}
    for value in (math.inf, math.nan):
        with pytest.raises(ValueError, match="not JSON compliant"):
            write_json(tmp_path / "a", [value])
    assert json.loads((tmp_path / "a").read_text())["psnr"] == 1.5


@pytest.mark.parametrize("path", [Path("/"), Path(".")])
def test_a_folder_is_not_written_to(path) -> None:
    with pytest.raises(UserError, match=r"is a folder, expected the name of a file"):
        write_atomically(path, lambda temporary: temporary.write_text("new"))


def test_only_regular_files_are_read(tmp_path) -> None:
    """A pipe without a writer would block for ever, /dev/zero would fill the memory."""
    (tmp_path / "text").write_text("abc")
    (tmp_path / "link").symlink_to("text")
    assert read_regular(tmp_path / "link", 3, "a text") == b"abc"
    with open_regular(tmp_path / "text", 3, "a text") as file:
        assert file.read() == b"abc"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "gone").symlink_to("nowhere")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    problems = {
        tmp_path / "pipe": "is a pipe, a device or a socket",
        tmp_path: "is a folder",
        Path("/dev/zero"): "is a pipe, a device or a socket",
        tmp_path / "gone": "no such file",
        tmp_path / "socket": "No such device or address",
        tmp_path / ("n" * 300): "File name too long",
        tmp_path / "text" / "x": "Not a directory",
    }
    if sys.platform == "linux":
        problems[Path("/proc/self/mem")] = "Input/output error"
    for read in (read_regular, open_regular, check_regular):
        for path, problem in problems.items():
            with pytest.raises(UserError) as caught:
                read(path, 100, "a text")
            assert str(caught.value) == f"{path}: {problem}, expected a text"
        with pytest.raises(UserError, match=r"text: 3 bytes are more than the limit of 2, expected a text"):
            read(tmp_path / "text", 2, "a text")
        with pytest.raises(UserError, match=r"not a path"):
            read(tmp_path / "a\0b", 2, "a text")
    server.close()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a\0b", "contains a NUL"),
        ("\ud800", "not UTF-8"),
        ("name\udcff", "not UTF-8"),
        (f"folder/{'é' * 128}/b", r"256 bytes, the limit is 255"),
        ("abc/" * 1025, r"4100 bytes, the limit is 4096"),
    ],
)
def test_what_cannot_be_a_path_is_one_line(text, problem) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        checked_path(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_a_link_to_itself_is_one_line(tmp_path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for text in (str(loop), str(loop / "picture.png")):
        with pytest.raises(UserError, match="leads back to itself"):
            checked_path(text)


def test_what_can_be_a_path_stays_as_it_is() -> None:
    for text in ("a/b c.png", "é" * 127, ".."):
        assert checked_path(text) == Path(text)


def test_an_error_is_one_line_that_a_terminal_shows_as_it_is() -> None:
    assert str(UserError("a\nb: no such file")) == "a b: no such file"
    assert str(UserError("\x1b[2J\0é: no such file")) == "\\x1b[2J\\x00é: no such file"
