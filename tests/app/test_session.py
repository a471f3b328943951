"""What a tab can do, without a browser: files, limits, stopping, and what stays when it is closed."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import twostagealign as tsa
from twostagealign.app.record import command, facts, record
from twostagealign.app.restorers import Restorers
from twostagealign.app.session import WELCOME, Choice, Session
from twostagealign.app.sessions import MOST_SESSIONS, Sessions
from twostagealign.app.sources import MOST_FRAMES
from twostagealign.app.worker import Job, Worker
from twostagealign.data import bundled_picture, write_picture, write_raw_folder
from twostagealign.isp import protocol_camera


@pytest.fixture
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    session = Session(tmp_path_factory.mktemp("sessions"))
    yield session
    session.close()


@pytest.fixture(scope="module")
def restorers(tiny_checkpoint: Path) -> Restorers:
    return Restorers([str(tiny_checkpoint), "tiny"], "cpu")


def do(work: Callable[[Job], object], session: Session) -> Job:
    """Do work for a session in this thread."""
    job = Job(work)
    session.begin(job)
    job()
    return job


def raw_burst(folder: Path, frames: int = 3, size: tuple[int, int] = (48, 64)) -> list[Path]:
    """Files of a raw burst, as they are uploaded."""
    mosaics = torch.rand(frames, *size, generator=torch.Generator().manual_seed(0))
    write_raw_folder(folder, mosaics, protocol_camera(), 1e-3, 1e-2)
    return sorted(folder.iterdir())


def open_files(session: Session, files: list[Path]) -> Job:
    return do(lambda job: session.open_uploads(files, job), session)


def test_raw_files_are_opened_and_restored(session: Session, restorers: Restorers, tmp_path: Path) -> None:
    files = raw_burst(tmp_path / "burst", 4)
    expected = tsa.load(restorers.names[0], "cpu").restore(tsa.read_burst(tmp_path / "burst", 3, 2), tsa.FAST)
    session.choice = Choice(restorers.names[0], frames=3, reference="middle")
    assert open_files(session, files).error is None
    assert session.source
    assert list(session.source.names) == ["0000.png", "0001.png", "0002.png", "0003.png"]
    assert [picture.shape for picture in session.source.thumbnails] == [(24, 32, 3)] * 4
    job = do(lambda job: session.restore(restorers, job), session)
    assert (job.error, job.done, job.total) == (None, job.total, 1)
    assert session.result
    assert np.array_equal(session.result.linear, expected.linear)
    assert command(session) == (
        "twostagealign restore --input 0000.png 0001.png 0002.png 0003.png --output restored --frames 3 --reference 2 "
        f"--checkpoint {restorers.names[0]}"
    )
    assert all(not path.exists() for path in files)  # moved away


def test_the_sharpest_frame_is_restored(session: Session, tmp_path: Path) -> None:
    picture = torch.from_numpy(bundled_picture("coffee")[100:228, 200:328].mean(axis=2) / 255).float()
    blurred = torch.nn.functional.avg_pool2d(picture[None], 9, 1, 4, count_include_pad=False)[0]
    write_raw_folder(tmp_path / "burst", torch.stack([blurred, picture, blurred]), protocol_camera(), 1e-5, 1e-3)
    write_raw_folder(tmp_path / "late", torch.stack([picture, blurred, blurred]), protocol_camera(), 1e-5, 1e-3)
    for name, index in (("burst", 1), ("late", 0)):
        assert open_files(session, sorted((tmp_path / name).iterdir())).error is None
        assert session.reference == index
        assert dict(facts(session))["Reference frame"] == f"{index:04d}.png, the sharpest one"
    session.choice = Choice(reference="middle")
    do(session.read, session)
    assert dict(facts(session))["Reference frame"] == "0001.png, the middle one"


def test_files_that_cannot_be_used_are_left_out(session: Session, tmp_path: Path) -> None:
    files = raw_burst(tmp_path / "burst")
    files[1].write_bytes(files[1].read_bytes()[:-200])
    other = tmp_path / "other"
    files += [path for path in raw_burst(other, 1, (32, 32)) if path.suffix == ".png"]
    files[-1] = files[-1].rename(other / "0009.png")
    (tmp_path / "notes.txt").write_text("hello")
    assert open_files(session, [*files, tmp_path / "notes.txt"]).error is None
    assert session.source
    assert list(session.source.names) == ["0000.png", "0002.png"]
    reasons = dict(session.source.left_out)
    assert set(reasons) == {"0001.png", "0009.png", "notes.txt"}
    assert "0001.png" in reasons["0001.png"]
    assert reasons["0009.png"] == "found 32x32 samples, expected 64x48 as in the other files"
    assert {"0001.png", "notes.txt"} <= {value.split(":")[0] for name, value in facts(session) if name == "Left out"}


def test_a_broken_file_is_one_line_and_the_page_goes_on(session: Session, restorers: Restorers, tmp_path: Path) -> None:
    (tmp_path / "IMG_7.dng").write_bytes(b"II*\0 not a raw file")
    error = open_files(session, [tmp_path / "IMG_7.dng"]).error
    assert error
    assert error.startswith("IMG_7.dng: ")
    assert "\n" not in error
    assert str(tmp_path.parent) not in error
    assert session.view() == {}
    (tmp_path / "empty.png").touch()
    assert (
        open_files(session, [tmp_path / "empty.png"]).error == "empty.png: the file is empty, expected a picture file"
    )
    assert do(lambda job: session.open_example("coffee", job), session).error is None
    assert session.view()["width"] == 512


def test_controls_can_be_used_before_a_burst_is_there(session: Session) -> None:
    session.choice = Choice(frames=3, noise="low")
    job = do(session.read, session)
    assert (job.error, job.message) == (None, WELCOME)


def test_names_never_become_paths(session: Session, tmp_path: Path) -> None:
    picture = bundled_picture("coffee")[:40, :52]
    hostile = tmp_path / "-rf $(x) '..'.png"
    write_picture(hostile, picture)
    assert open_files(session, [hostile]).error is None
    assert session.source
    assert list(session.source.names) == [hostile.name]


def test_pictures_are_given_noise(session: Session, restorers: Restorers, tmp_path: Path) -> None:
    picture = bundled_picture("coffee")
    for number, left in enumerate((200, 204, 208)):
        write_picture(tmp_path / f"{number + 9}.png", picture[100:140, left : left + 52])
    expected = tsa.simulate(sorted(tmp_path.iterdir(), key=lambda path: int(path.stem)), "low").demosaicked()
    session.choice = Choice(restorers.names[0], noise="low")
    assert open_files(session, list(tmp_path.iterdir())).error is None
    assert session.burst
    assert session.source
    assert list(session.source.names) == ["9.png", "10.png", "11.png"]
    assert np.array_equal(session.burst.demosaicked(), expected)
    do(lambda job: session.restore(restorers, job), session)
    assert "Against the truth" in dict(facts(session))
    assert "--simulate low" in command(session)


@pytest.mark.parametrize("content", [[], ["notes.txt"]])
def test_nothing_that_can_be_used(session: Session, tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).write_text("hello")
    assert open_files(session, list(tmp_path.iterdir())).error == "no raw file and no picture among these files"


def test_number_and_size_are_limited(session: Session, tmp_path: Path) -> None:
    for number in range(MOST_FRAMES + 2):
        (tmp_path / f"{number}.dng").touch()
    assert f"at most {MOST_FRAMES}" in str(open_files(session, list(tmp_path.iterdir())).error)
    large = tmp_path / "large.dng"
    with large.open("wb") as file:
        file.truncate(5 * 2**30)
    assert "GiB" in str(open_files(session, [large]).error)


def test_downloads(session: Session, restorers: Restorers) -> None:
    do(lambda job: session.open_example("astronaut", job), session)
    session.choice = Choice(restorers.names[0])
    do(lambda job: session.restore(restorers, job), session)
    session.look = tsa.Look(strength=0.5)
    done = json.loads(json.dumps(record(session)))
    assert (done["checkpoint"], done["look"]["strength"]) == (restorers.names[0], 0.5)
    assert [frame["name"] for frame in done["inputs"]] == [f"frame {number}" for number in range(1, 6)]
    assert "--brightness" not in command(session)
    session.look = tsa.Look(strength=0.5, brightness="auto")
    assert "--brightness auto" in command(session)
    assert dict(facts(session))["Brightness"].startswith("automatic, +")
    for kind in ("png", "tif", "dng"):
        path = session.save(kind)
        assert path.name == f"frame_3_restored.{kind}"
        assert path.stat().st_size > 10_000
    with pytest.raises(ValueError, match="no result"):
        session.save("../../etc/passwd")


def test_stop_ends_the_work(session: Session, restorers: Restorers) -> None:
    do(lambda job: session.open_example("astronaut", job), session)
    session.choice = Choice(restorers.names[0], by_protocol=True)
    worker = Worker()
    first = Job(lambda job: session.restore(restorers, job))
    second = Job(lambda job: pytest.fail("it was stopped before its turn"))
    session.begin(first)
    ended, never = worker.submit(first), worker.submit(second)
    assert worker.before(second) == 1
    while not first.done:
        time.sleep(0.01)
    first.stop()
    second.stop()
    assert ended(60)
    assert never(60)
    assert 0 < first.done < first.total
    assert session.result is None
    assert second.error is None
    worker.close()


def test_a_closed_tab_leaves_no_work_and_no_files(restorers: Restorers, tmp_path: Path) -> None:
    sessions, worker = Sessions(tmp_path / "sessions"), Worker()
    session = sessions.of_tab("a")
    open_files(session, raw_burst(tmp_path / "burst"))
    assert session.source
    started = threading.Event()

    def endless(job: Job) -> None:
        started.set()
        while True:
            job.step("working")

    job = Job(endless)
    session.begin(job)
    ended = worker.submit(job)
    assert started.wait(60)
    assert list((tmp_path / "sessions").rglob("*.png"))
    sessions.close("a")
    assert ended(60)
    assert not list((tmp_path / "sessions").iterdir())
    assert sessions.of_key(session.key) is None
    worker.close()


def test_a_waiting_job_stops_at_once() -> None:
    worker, free = Worker(), threading.Event()
    first = Job(lambda job: free.wait(60))
    second, third = (Job(lambda job: job.step("done")) for _ in range(2))
    ended = [worker.submit(job) for job in (first, second, third)]
    assert (worker.before(third), ended[1](0)) == (2, False)
    second.stop()
    assert (worker.before(third), ended[1](0)) == (1, True)
    free.set()
    assert ended[2](60)
    assert second.message != "done"
    assert third.message == "done"
    worker.close()


def test_what_a_job_leaves_is_deleted_even_if_it_never_begins() -> None:
    worker, deleted = Worker(), threading.Event()
    job = Job(lambda job: pytest.fail("it was stopped before its turn"), deleted.set)
    job.stop()
    assert worker.submit(job)(60)
    assert deleted.is_set()
    worker.close()


def test_tabs_are_limited(tmp_path: Path) -> None:
    sessions = Sessions(tmp_path)
    for number in range(MOST_SESSIONS):
        assert sessions.of_tab(str(number)) is sessions.of_tab(str(number))
    with pytest.raises(tsa.UserError, match="close one"):
        sessions.of_tab("one more")
    sessions.close("0")
    sessions.of_tab("one more")
    sessions.close_all()


def test_a_bug_is_one_line_and_the_worker_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker()
    broken = Job(lambda job: 1 / 0)
    assert worker.submit(broken)(60)
    assert broken.error
    assert "\n" not in broken.error
    assert "ZeroDivisionError" in caplog.text
    fine = Job(lambda job: job.step("done"))
    assert worker.submit(fine)(60)
    assert (fine.error, fine.message) == (None, "done")
    worker.close()
