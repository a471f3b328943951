import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from twostagealign.data import (
    PROTOCOL_NOISE,
    bundled_picture,
    burst_from_picture,
    frame_window,
    open_clip,
    read_burst,
    write_picture,
)
from twostagealign.data.clips.sc_burst_writer import write_scene
from twostagealign.evaluation import candidates, protocol
from twostagealign.evaluation.protocol import Request, evaluate
from twostagealign.evaluation.results import Results, Shifts, read_results
from twostagealign.evaluation.summary import results_table
from twostagealign.matching import Search
from twostagealign.models.checkpoint import open_restorer, save_torch_file, save_weights
from twostagealign.options.evaluation import EvaluationOptions
from twostagealign.options.registry import METRICS
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.quality import develop, measure
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.locks import folder_lock

HIGH, LOW = PROTOCOL_NOISE["high"], PROTOCOL_NOISE["low"]
TILING = Tiling(patch=16, halo=4)
SEARCH = Search(16)
OPTIONS = {
    "name": "Two",
    "dataset": {"type": "ClipSet"},
    "data": "datasets/Two",
    "frames": 3,
    "tiling": {"patch": 16, "halo": 4, "search_window": 16},
    "paper": {"psnr": {"high": 40.0}, "clips": ["a", "b"], "frames": 4},
}


def write_clips(folder: Path, names: tuple[str, ...] = ("a", "b"), count: int = 4) -> Path:
    for seed, name in enumerate(names):
        frames, _ = burst_from_picture(bundled_picture("coffee"), count, (36, 44), speed=(1, 3), seed=seed)
        (folder / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            write_picture(folder / name / f"{number + 24:08d}.png", frame.permute(1, 2, 0).numpy())
    return folder


@pytest.fixture(scope="module", autouse=True)
def flops_counted_once():
    """Counting takes longer than all the rest of these evaluations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "count_flops", lambda *args: 123_000_000)
        yield


@pytest.fixture(scope="module")
def clips(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory, make_restorer, nodes) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    paths = folder / "first.safetensors", folder / "second.safetensors"
    for seed, path in enumerate(paths):
        save_weights(path, make_restorer(seed).state_dict(), nodes)
    return paths


@pytest.fixture(scope="module")
def make_request(clips, checkpoints) -> Callable[..., Request]:
    def make(results: Path, *, options: dict | None = None, **changes) -> Request:
        usual = {"data": clips, "checkpoints": checkpoints[:1], "noise": [HIGH], "device": "cpu"}
        usual |= {"tiling": TILING, "search": SEARCH}
        checked = EvaluationOptions.model_validate(OPTIONS | (options or {}))
        return Request(options=checked, results=results, **usual | changes)

    return make


@pytest.fixture(scope="module")
def done(tmp_path_factory, make_request, checkpoints) -> tuple[Path, Results]:
    """Both noise levels, two checkpoints, pictures."""
    request = make_request(
        tmp_path_factory.mktemp("results"), noise=[HIGH, LOW], checkpoints=checkpoints, save_images=1
    )
    return evaluate(request)


def digits(results: Results) -> list[tuple]:
    """What must not depend on how the work was shared out."""
    return [(run.checkpoint, run.noise, x.clip, x.frame, x.psnr, x.ssim) for run in results.runs for x in run.frames]


def test_numbers_are_those_of_the_protocol(done, clips, checkpoints) -> None:
    _, results = done
    assert [(run.checkpoint, run.noise) for run in results.runs] == [
        ("first", "high"),
        ("first", "low"),
        ("second", "high"),
        ("second", "low"),
    ]
    run = results.runs[3]
    restorer = open_restorer(checkpoints[1], search=SEARCH)
    clip = open_clip(clips / "b", LOW)
    for frame, index in zip(run.frames[4:], range(4), strict=True):
        window = frame_window(index, 4, 3)
        burst = read_burst(clip, window)
        image = restore_frame(restorer, burst, TILING).image
        expected = measure(develop(image, burst.camera), develop(burst.target(), burst.camera))
        assert (frame.psnr, frame.ssim) == pytest.approx((expected.psnr, expected.ssim), abs=1e-4)
        assert (frame.clip, frame.index, frame.frame) == ("b", index, f"{index + 24:08d}")
        assert frame.window == [f"{i + 24:08d}" for i in window]
        assert frame.part == ("border" if index in (0, 3) else "center")
        assert frame.seconds.network > 0
        assert frame.memory.resident > 2**26


def test_means(done) -> None:
    run = done[1].runs[0]
    a, b = ([frame.psnr for frame in run.frames if frame.clip == name] for name in "ab")
    assert run.clips[0].all.psnr == pytest.approx(fmean(a))
    assert run.clips[1].center.psnr == pytest.approx(fmean(b[1:3]))
    assert run.clips[1].border.psnr == pytest.approx(fmean([b[0], b[3]]))
    assert run.mean.all.psnr == pytest.approx((fmean(a) + fmean(b)) / 2)
    assert (run.mean.all.frames, run.mean.center.frames, run.mean.border.frames) == (8, 4, 4)


def test_comparison_is_against_the_first(done) -> None:
    results = done[1]
    found = {(x.noise, x.metric): x for x in results.comparisons}
    assert set(found) == {(noise, metric) for noise in ("high", "low") for metric in ("psnr", "ssim")}
    low = found["low", "psnr"]
    assert (low.baseline, low.candidate, low.frames) == ("first", "second", 8)
    assert low.difference == pytest.approx(results.runs[3].mean.all.psnr - results.runs[1].mean.all.psnr)
    assert low.low <= low.difference <= low.high


def test_files(done) -> None:
    folder, results = done
    assert folder.name == "Two_first_vs_second_high_low"
    assert read_results(folder / "results.json") == results
    rows = (folder / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 4 * 8
    assert rows[1].startswith(f"first,high,a,00000024,0,border,{results.runs[0].frames[0].psnr},")
    curves = EventAccumulator(str(folder / "tb" / "second" / "low")).Reload()
    points = curves.Scalars("psnr/b")
    assert [point.step for point in points] == [0, 1, 2, 3]
    assert [point.value for point in points] == pytest.approx([x.psnr for x in results.runs[3].frames[4:]])
    assert results.checkpoints[0].parameters == sum(
        parameter.numel() for parameter in open_restorer(Path(results.checkpoints[0].file)).network.parameters()
    )
    assert results.checkpoints[0].tile_gflop == 0.123
    assert not list(folder.rglob("*.part"))


def test_pictures_of_chosen_frames(done, clips) -> None:
    folder, results = done
    for run in results.runs:
        assert [frame.index for frame in run.frames if frame.pictures] == [2, 2]  # the middle one of each clip
    frame = results.runs[0].frames[2]
    noisy, restored, truth, residual = (
        cv2.imread(str(folder / getattr(frame.pictures, kind))).astype(int)
        for kind in ("noisy", "restored", "truth", "residual")
    )
    original = cv2.imread(str(clips / "a" / f"{frame.frame}.png")).astype(int)
    assert abs(truth - original).max() <= 4  # highlights apart, unprocessing is undone
    assert noisy.shape == restored.shape == residual.shape == (36, 44, 3)
    assert abs(residual[restored == truth] - 128).max() <= 20
    shifts = Shifts.model_validate_json((folder / frame.pictures.shifts).read_bytes())
    assert (shifts.size, shifts.patch, shifts.window) == ((18, 22), 16, frame.window)
    assert shifts.origins == [(0, 0), (0, 16), (16, 0), (16, 16)]
    assert np.array(shifts.shifts).shape == (4, 3, 2)
    assert not np.array(shifts.shifts)[:, 1].any()  # the reference stays where it is


def test_incomplete_data_set_is_called_so(tmp_path, make_request) -> None:
    _, results = evaluate(make_request(tmp_path, clips=["b"], limit=2))
    assert [frame.index for frame in results.runs[0].frames] == [0, 1]
    assert not results.complete
    assert results.notes == [
        "not complete: 1 of 2 clips are missing (a)",
        "not complete: at most 2 frames of each clip were evaluated (--limit)",
    ]
    assert results.runs[0].mean.center.frames == 1


def test_complete_data_set(done) -> None:
    assert done[1].complete
    assert done[1].notes == []
    assert [run.paper_psnr for run in done[1].runs] == [40, None, 40, None]


def test_killed_evaluation_goes_on(tmp_path, make_request, done, monkeypatch) -> None:
    computed = []
    true_function = protocol.evaluate_frame

    def dies_at_the_third(candidate, job, *args):
        if len(computed) == 3:
            raise KeyboardInterrupt
        computed.append((job.clip.name, job.index))
        return true_function(candidate, job, *args)

    monkeypatch.setattr(protocol, "evaluate_frame", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        evaluate(make_request(tmp_path))
    folder = tmp_path / "Two_first_high"
    assert not (folder / "results.json").exists()
    assert len(list((folder / "frames").rglob("*.json"))) == 3

    computed.clear()
    monkeypatch.setattr(protocol, "evaluate_frame", lambda *a: computed.append(a[1].index) or true_function(*a))
    _, results = evaluate(make_request(tmp_path, resume=True))
    assert computed == [3, 0, 1, 2, 3]
    assert digits(results) == [entry for entry in digits(done[1]) if entry[:2] == ("first", "high")]
    computed.clear()
    assert digits(evaluate(make_request(tmp_path, resume=True))[1]) == digits(results)
    assert computed == []
    assert not list(tmp_path.glob("*archived*"))

    (folder / "frames/first/high/a/00000024.json").write_text("{")  # a damaged record is no record
    evaluate(make_request(tmp_path, resume=True, save_images=1, report=True))
    assert computed == [0, 2, 2]  # and the frames that have no pictures yet
    assert (folder / "report.html").exists()
    evaluate(make_request(tmp_path, resume=True, limit=1))
    assert not (folder / "report.html").exists()  # it would show what results.json no longer holds


def test_a_frame_in_front_of_the_clip_gives_all_others_another_noise(tmp_path, make_request) -> None:
    data = write_clips(tmp_path / "data", names=("a",), count=5)
    (first, *_) = sorted((data / "a").iterdir())
    first.rename(tmp_path / first.name)
    evaluate(make_request(tmp_path / "resumed", data=data))
    (tmp_path / first.name).rename(first)
    _, resumed = evaluate(make_request(tmp_path / "resumed", data=data, resume=True))
    assert digits(resumed) == digits(evaluate(make_request(tmp_path / "whole", data=data))[1])


def test_resume_with_other_settings_is_refused(tmp_path, make_request, checkpoints) -> None:
    request = make_request(tmp_path, name="mine", limit=1)
    evaluate(request)
    for changes, message in (
        ({"tiling": dataclasses.replace(TILING, halo=0)}, 'tiling {"patch": 16, "halo": 4, .*, found .*"halo": 0'),
        ({"checkpoints": checkpoints[1:]}, 'checkpoints {"first": .*, found {"second": '),
        ({"noise": [LOW]}, 'noise .*"high"'),
    ):
        with pytest.raises(UserError, match=f"^--resume: {tmp_path}/mine was made with {message}"):
            evaluate(dataclasses.replace(request, resume=True, **changes))
    (results,) = read_results(tmp_path / "mine/results.json").runs
    assert len(results.frames) == 2


def test_an_evaluation_from_before_metrics_could_be_chosen_is_resumed(tmp_path, make_request) -> None:
    """Its settings do not list them, and its frames hold a hash of these settings, or none."""
    request = make_request(tmp_path, name="mine", clips=["a"], limit=3, save_images=1, resume=True)
    evaluate(request)
    identity = json.loads((tmp_path / "mine/identity.json").read_text())
    assert identity.pop("metrics") == ["psnr", "ssim"]
    identity["lpips"] = False
    earlier = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    frames = tmp_path / "mine/frames/first/high/a"
    for number, (evaluation, psnr) in enumerate(((earlier, 77.0), (None, 78.0), ("other", 79.0)), 24):
        record = json.loads((frames / f"{number:08d}.json").read_text()) | {"psnr": psnr}
        del record["evaluation"]
        record |= {"evaluation": evaluation} if evaluation else {}
        (frames / f"{number:08d}.json").write_text(json.dumps(record))
    for metrics, found in ((["psnr"], r'\["psnr"\]'), (["psnr", "ssim", "chroma_error"], ".*chroma_error")):
        (tmp_path / "mine/identity.json").write_text(json.dumps(identity))
        options = request.options.model_copy(update={"metrics": metrics})
        with pytest.raises(UserError, match=rf'mine was made with metrics \["psnr", "ssim"\], found {found}'):
            evaluate(dataclasses.replace(request, options=options))
    _, results = evaluate(request)
    assert [frame.psnr for frame in results.runs[0].frames[:2]] == [77, 78]  # not computed again
    assert results.runs[0].frames[2].psnr < 70
    assert json.loads((tmp_path / "mine/identity.json").read_text())["metrics"] == ["psnr", "ssim"]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[1, 2]", b"\xff\xfe", b"[" * 100_000, b'{"noise": ' + b"9" * 5000 + b"}"],
    ids=range(7),
)
def test_resume_with_a_damaged_identity_is_refused(tmp_path, make_request, content) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/identity.json").write_bytes(content)
    with pytest.raises(UserError, match=r"^.*mine/identity\.json: damaged, .*; use another --name$"):
        evaluate(make_request(tmp_path, name="mine", resume=True))
    assert (tmp_path / "mine/identity.json").read_bytes() == content


def test_two_evaluations_in_one_folder_are_refused(tmp_path, make_request) -> None:
    request = make_request(tmp_path, name="mine", limit=1, clips=["a"])
    with folder_lock(tmp_path / "mine"), pytest.raises(UserError, match=r"mine: in use by .*, process \d+, since"):
        evaluate(request)
    assert not (tmp_path / "mine").exists()
    evaluate(request)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_records_that_are_not_of_this_evaluation_are_computed_again(tmp_path, make_request, done) -> None:
    evaluate(make_request(tmp_path, name="mine", clips=["a"]))
    evaluate(make_request(tmp_path, name="other", clips=["a"], tiling=dataclasses.replace(TILING, halo=0)))
    mine, other = (sorted((tmp_path / name / "frames/first/high/a").glob("*.json")) for name in ("mine", "other"))
    mine[0].write_bytes(other[0].read_bytes())
    for path, change in (
        (mine[1], {"psnr": 1e308}),
        (mine[2], {"clip": "b"}),
        (mine[3], {"evaluation": None}),
    ):
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    _, results = evaluate(make_request(tmp_path, name="mine", clips=["a"], resume=True))
    assert digits(results) == [x for x in digits(done[1]) if x[:3] == ("first", "high", "a")]


def test_records_that_another_program_takes_away_are_missed(tmp_path, make_request, monkeypatch) -> None:
    true_function = protocol.evaluate_frame

    def removes_the_one_before(candidate, job, *args):
        for path in (tmp_path / "mine/frames").rglob("*.json"):
            path.unlink()
        return true_function(candidate, job, *args)

    monkeypatch.setattr(protocol, "evaluate_frame", removes_the_one_before)
    with pytest.raises(UserError, match=r"00000024\.json: removed or overwritten during the evaluation"):
        evaluate(make_request(tmp_path, name="mine", clips=["a"]))
    assert not (tmp_path / "mine/results.json").exists()


def test_what_is_there_is_kept(tmp_path, make_request) -> None:
    for _ in range(2):
        evaluate(make_request(tmp_path, name="mine", limit=1, clips=["a"]))
    archived, mine = sorted(tmp_path.iterdir(), key=lambda path: path.name, reverse=True)
    assert (mine.name, archived.name[:14]) == ("mine", "mine_archived_")
    assert (archived / "results.json").exists()


def test_other_things_in_the_places_of_its_files(tmp_path, make_request) -> None:
    """A pipe in the place of the curves blocked; a folder in that of results.json was a traceback."""
    request = make_request(tmp_path, name="mine", limit=1, clips=["a"], resume=True)
    folder, _ = evaluate(request)
    shutil.rmtree(folder / "tb")
    os.mkfifo(folder / "tb")
    (folder / "results.json").unlink()
    (folder / "results.json").mkdir()
    evaluate(request)
    assert (folder / "tb").is_dir()
    assert (folder / "results.json").is_file()


@pytest.mark.parametrize("workers", [0, 3])
def test_workers_do_not_change_the_digits(tmp_path, make_request, done, workers) -> None:
    _, results = evaluate(make_request(tmp_path, workers=workers))
    assert digits(results) == [entry for entry in digits(done[1]) if entry[:2] == ("first", "high")]


def damage(clips: Path, name: str) -> None:
    path = clips / name
    path.write_bytes(path.read_bytes()[:-40])


def test_damaged_picture_stops_before_the_work(tmp_path, make_request) -> None:
    data = write_clips(tmp_path / "data")
    damage(data, "b/00000026.png")
    with pytest.raises(UserError, match=r"b/00000026\.png: truncated or damaged picture"):
        evaluate(make_request(tmp_path / "results", data=data))
    assert not (tmp_path / "results").exists()


def test_skip_bad_leaves_out_what_needs_it_and_says_so(tmp_path, make_request, done) -> None:
    data = write_clips(tmp_path / "data", ("a", "b", "c"))
    damage(data, "b/00000027.png")
    (data / "c/00000025.png").unlink()
    options = {"paper": None}
    with pytest.raises(UserError, match=r"/c: frame 25 is missing, found 00000026\.png after 00000024\.png"):
        evaluate(make_request(tmp_path / "results", data=data, options=options))
    _, results = evaluate(make_request(tmp_path / "results", data=data, skip_bad=True, options=options))
    assert [(frame.clip, frame.index) for frame in results.runs[0].frames] == [
        *(("a", index) for index in range(4)),
        *(("b", index) for index in (0, 1)),
    ]
    kept = {entry[2:4] for entry in digits(results)}
    assert digits(results) == [x for x in digits(done[1]) if x[:2] == ("first", "high") and x[2:4] in kept]
    assert [(skipped.clip, skipped.frame) for skipped in results.skipped] == [
        ("b", "00000026"),
        ("b", "00000027"),
        ("c", None),
    ]
    assert not results.complete
    assert [note.partition(" (--skip-bad): ")[0] for note in results.notes] == [
        "not complete: left out frames 00000026, 00000027 of clip b",
        "not complete: left out clip c",
    ]
    for index in (0, 1, 2):
        damage(data, f"a/{index + 24:08d}.png")
        damage(data, f"b/{index + 24:08d}.png")
    with pytest.raises(UserError, match="--skip-bad: found no frame that can be used; the first problem: "):
        evaluate(make_request(tmp_path / "results", data=data, skip_bad=True, options=options))


def test_scenes_without_ground_truth(tmp_path, make_request) -> None:
    generator = torch.Generator().manual_seed(0)
    write_scene(tmp_path / "data/Scene01", [torch.rand(4, 20, 24, generator=generator) for _ in range(3)], 0.01, 0.02)
    options = {"name": "SC", "dataset": {"type": "SCBurst"}, "noise": None, "paper": None}
    request = make_request(tmp_path / "results", data=tmp_path / "data", options=options, noise=None, save_images=1)
    folder, results = evaluate(request)
    (run,) = results.runs
    (frame,) = run.frames
    assert (folder.name, run.noise, run.shot) == ("SC_first", "camera", None)
    assert (frame.clip, frame.frame, frame.psnr, frame.pictures.truth) == ("Scene01", "0002", None, None)
    assert (folder / frame.pictures.restored).exists()
    assert (results.complete, results.comparisons, run.mean.all.psnr) == (True, [], None)
    with pytest.raises(UserError, match=r"^--noise: found high, expected none, the frames have noise of their own"):
        evaluate(dataclasses.replace(request, noise=[HIGH]))


def test_wrong_requests(tmp_path, make_request, checkpoints) -> None:
    for changes, message in (
        ({"clips": ["a", "z"]}, "--clips: found 'z', expected some of a, b"),
        ({"options": {"clips": ["000"]}}, "--data: found the clips a, b, expected some of 000"),
        ({"options": {"frames": 5}}, "/a: found 4 frames, expected at least 5, a burst"),
        ({"noise": None}, "--noise: found none, expected high, low, both or SHOT,READ"),
        ({"data": tmp_path / "none"}, "none: no such folder"),
        ({"checkpoints": [checkpoints[0]] * 2}, "first.safetensors: found the same checkpoint twice"),
        ({"checkpoints": [tmp_path / "none.pth"]}, "none.pth: no such file"),
        (
            {"tiling": Tiling(patch=32, halo=4), "search": Search(16, inclusive_search=False)},
            "--protocol released: clip a has raw planes of 22x18, expected more than one tile of 32 on each side",
        ),
    ):
        with pytest.raises(UserError, match=message):
            evaluate(make_request(tmp_path / "results", **changes))
    assert not (tmp_path / "results").exists()


def test_released_protocol_searches_less(tmp_path, make_request, done) -> None:
    search = Search(16, inclusive_search=False)
    folder, results = evaluate(make_request(tmp_path, search=search, limit=1, clips=["a"], save_images=1))
    assert folder.name == "Two_first_high_released"
    shifts = json.loads((folder / results.runs[0].frames[0].pictures.shifts).read_text())["shifts"]
    last_tile = np.array(shifts)[3]
    assert (last_tile[[0, 2]] < 0).all()  # at the lower right border it cannot stay in place
    assert results.runs[0].frames[0].psnr != done[1].runs[0].frames[0].psnr


def test_training_state_gives_averaged_weights_unless_asked(tmp_path, make_request, make_restorer, nodes, done) -> None:
    averaged, raw = (make_restorer(seed).state_dict() for seed in (0, 1))
    path = tmp_path / "tiny/training_states/latest.state"
    path.parent.mkdir(parents=True)
    save_torch_file(path, {"model": raw, "ema": averaged, "metadata": nodes, "iteration": 3})
    basicsr = tmp_path / "net_g.pth"
    save_torch_file(basicsr, {"params": raw, "params_ema": averaged})
    expected = {(run.checkpoint, run.noise): run.frames[0].psnr for run in done[1].runs}
    for checkpoint in (path, basicsr):
        for which, label in ((True, "first"), (False, "second")):
            if checkpoint is basicsr and nodes["features"]["channels"] != 16:
                continue  # such a file says nothing of the feature net, whose usual width is another
            request = make_request(tmp_path / "results", checkpoints=[checkpoint], averaged=which, limit=1, clips=["a"])
            folder, results = evaluate(request)
            assert results.runs[0].frames[0].psnr == expected[label, "high"]
    assert folder.name == "Two_tiny_latest_high"


def test_checkpoint_that_restores_to_nothing(tmp_path, make_request, make_restorer, nodes) -> None:
    state = make_restorer().state_dict()
    for name in state:
        if name.startswith("network.") and name.endswith("bias"):
            state[name].fill_(3e38)  # finite, but sums of it are not
    save_weights(tmp_path / "broken.safetensors", state, nodes)
    with pytest.raises(
        UserError, match=r"broken.safetensors: found numbers that are not finite where it restored frame"
    ):
        evaluate(make_request(tmp_path, checkpoints=[tmp_path / "broken.safetensors"], limit=1))
    assert not list(tmp_path.rglob("results.json"))


@pytest.fixture
def offset() -> str:
    """Name of a metric of another package."""

    @METRICS.register
    def offset(image: Tensor, target: Tensor) -> float:
        return float((image - target).abs().mean())

    return "offset"


def test_a_metric_of_another_package(tmp_path, make_request, offset) -> None:
    request = make_request(tmp_path, limit=2, clips=["a"])
    options = request.options.model_copy(update={"metrics": [offset, "ssim"]})
    folder, results = evaluate(replace(request, options=options))
    (run,) = results.runs
    assert all(0 < frame.others[offset] < 1 for frame in run.frames)
    assert run.mean.all.others[offset] == pytest.approx(np.mean([frame.others[offset] for frame in run.frames]))
    assert (run.frames[0].psnr, run.mean.all.psnr) == (None, None)
    assert read_results(folder / "results.json") == results
    header, first, _ = (folder / "results.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), first.split(","), strict=True))
    assert (float(cells[offset]), cells["psnr"]) == (run.frames[0].others[offset], "")
    columns = results_table(results).splitlines()[1].split()
    assert columns == ["clip", "frames", *("SSIM", "all", "center", "border"), *(offset, "all", "center", "border")]


def test_a_metric_that_gives_no_number(tmp_path, make_request) -> None:
    @METRICS.register
    def odd(image: Tensor, target: Tensor) -> float:
        return float("nan")

    request = make_request(tmp_path, limit=1, clips=["a"])
    options = request.options.model_copy(update={"metrics": ["odd"]})
    with pytest.raises(UserError, match=r"^metric odd: found nan, expected a number of at most 1e\+09$"):
        evaluate(replace(request, options=options))


def test_an_output_that_cannot_be_written_is_found_before_the_files_are_read(make_request, tmp_path) -> None:
    clips = write_clips(tmp_path / "data")
    (clips / "a" / "00000025.png").write_bytes(b"nothing")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"file/.*: Not a directory, expected a folder that can be written to"):
        evaluate(make_request(tmp_path / "file", data=clips))
    with pytest.raises(UserError, match=r"00000025\.png"):
        evaluate(make_request(tmp_path / "results", data=clips))
    assert not (tmp_path / "results").exists()
