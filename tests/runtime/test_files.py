import os
from pathlib import Path

import pytest

from twostagealign.runtime import files
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import link_or_copy, locate, write_atomically


def test_a_path_is_looked_up_here_and_then_in_the_repository(tmp_path, monkeypatch) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "both").touch()
    (there / "far").touch()
    monkeypatch.chdir(here)
    monkeypatch.setattr(files, "REPOSITORY", there)
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
