import pickle
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from twostagealign.data import REDS, StillsInMotion, check_no_overlap, write_store
from twostagealign.options import DATASETS, build, load_options
from twostagealign.runtime import files
from twostagealign.runtime.errors import UserError


@pytest.fixture(scope="module")
def store(clips, tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "clips.lmdb"
    write_store(clips, path)
    return path


def place(burst):
    """What the pixels of a burst say (see conftest): clip, frame numbers, rows and columns of the crop."""
    red, green = burst[burst.shape[0] // 2, :2].numpy()
    assert (burst[:, :2] == burst[:1, :2]).all()  # the same crop of every frame
    assert (burst[:, 2] == burst[:, 2, :1, :1]).all()
    marks = burst[:, 2, 0, 0].tolist()
    assert len({mark // 16 for mark in marks}) == 1
    return f"{marks[0] // 16:03d}", [mark % 16 for mark in marks], red, green


def test_item(clips):
    item = REDS(clips, frames=3, size=(20, 36))[0]
    assert item.shape == (3, 3, 20, 36)
    assert item.dtype == torch.uint8
    assert item.is_contiguous()
    assert len(REDS(clips, size=32)) == 10_000_000


def test_items_are_what_was_chosen(clips):
    bursts = REDS(clips, size=(20, 36), interval_list=(1, 2), random_reverse=True, length=40)
    for i in range(40):
        choice = bursts.choose(i)
        clip, numbers, red, green = place(bursts[i])
        assert clip == choice.clip
        first = 3 if clip == "003" else 0
        assert numbers == [first + frame for frame in choice.frames]
        height, width = (36, 20) if choice.quarter_turns % 2 else (20, 36)
        coordinates = np.mgrid[choice.top : choice.top + height, choice.left : choice.left + width].transpose(1, 2, 0)
        turned = np.rot90(coordinates, choice.quarter_turns)
        if choice.mirrored:
            turned = np.fliplr(turned)
        np.testing.assert_array_equal(np.stack([red, green], axis=2), turned)


def test_everything_is_drawn_about_evenly(clips):
    bursts = REDS(clips, frames=3, size=32, interval_list=(1, 3), random_reverse=True, length=3000)
    choices = [bursts.choose(i) for i in range(3000)]
    steps = Counter(choice.frames[1] - choice.frames[0] for choice in choices)
    assert sorted(steps) == [-3, -1, 1, 3]
    assert all(abs(count - 750) < 100 for count in steps.values())
    assert all(choice.frames[2] - choice.frames[1] == choice.frames[1] - choice.frames[0] for choice in choices)
    close = [choice.frames[1] for choice in choices if abs(choice.frames[1] - choice.frames[0]) == 1]
    apart = [choice.frames[1] for choice in choices if abs(choice.frames[1] - choice.frames[0]) == 3]
    for options, drawn in (
        (["001", "002", "003"], [choice.clip for choice in choices]),
        (range(1, 11), close),
        (range(3, 9), apart),
        (range(17), [choice.top for choice in choices]),
        (range(33), [choice.left for choice in choices]),
        (range(8), [2 * choice.quarter_turns + choice.mirrored for choice in choices]),
    ):
        found = Counter(drawn)
        mean = found.total() / len(options)
        assert sorted(found) == list(options)
        assert all(abs(count - mean) < 5 * mean**0.5 for count in found.values())


def test_burst_depends_on_seed_and_index_alone(clips, store):
    bursts = REDS(clips, size=32, seed=3, length=8)
    forward = [bursts[i] for i in range(8)]
    again = REDS(store, size=32, seed=3, length=100)
    assert all(again[i].equal(forward[i]) for i in reversed(range(8)))
    other = REDS(clips, size=32, seed=4, length=8)
    assert not any(other[i].equal(forward[i]) for i in range(8))
    assert not any(forward[0].equal(burst) for burst in forward[1:])


@pytest.mark.parametrize("compression", ["png", "webp"])
def test_bursts_are_the_same_from_every_source(clips, tmp_path, compression):
    write_store(clips, tmp_path, compression)
    bursts, stored = REDS(clips, size=32, length=4), REDS(tmp_path, size=32, length=4)
    assert all(stored[i].equal(bursts[i]) for i in range(4))


def test_windows_at_the_ends_of_a_clip(clips):
    inside, everywhere = (REDS(clips, size=8, clips=["001"], border_mode=mode, length=500) for mode in (False, True))
    windows = {choice.frames for choice in map(inside.choose, range(500))}
    assert windows == {tuple(range(i - 2, i + 3)) for i in range(2, 10)}
    windows = {choice.frames for choice in map(everywhere.choose, range(500))}
    assert len(windows) == 12
    assert {(4, 3, 0, 1, 2), (9, 10, 11, 8, 7)} < windows  # as in the test protocol
    spread = REDS(clips, size=8, clips=["001"], frames=3, interval_list=(4,), border_mode=True, length=500)
    windows = {choice.frames for choice in map(spread.choose, range(500))}
    assert len(windows) == 12
    assert {(8, 0, 4), (9, 1, 5), (1, 5, 9), (7, 11, 3)} < windows


def test_test_clips_are_left_out(clips):
    assert REDS(clips, size=8).clips == ["001", "002", "003"]
    assert REDS(clips, size=8, exclude=["001"]).clips == ["000", "002", "003"]
    assert REDS(clips, size=8, exclude=[]).clips == ["000", "001", "002", "003"]
    assert REDS(clips, size=8, clips=["000", "002"]).clips == ["000", "002"]


def test_without_augmentation(clips):
    bursts = REDS(clips, size=(20, 36), clips=["000", "003"], augment=False, length=4)
    found = []
    for burst in bursts:
        clip, numbers, red, green = place(burst)
        np.testing.assert_array_equal(red[:, 0], np.arange(14, 34))
        np.testing.assert_array_equal(green[0], np.arange(14, 50))
        assert numbers == list(range(numbers[0], numbers[0] + 5))
        found.append((clip, numbers[2]))
    assert found == [("000", 4), ("003", 7), ("000", 8), ("003", 11)]  # of references 2 to 9 and 5 to 12
    assert [bursts.choose(i).clip for i in range(4)] == ["000", "003"] * 2
    one_each = REDS(clips, size=(48, 64), exclude=[], augment=False)
    assert [place(burst)[:2] for burst in one_each] == [
        ("000", [4, 5, 6, 7, 8]), ("001", [4, 5, 6, 7, 8]), ("002", [4, 5, 6, 7, 8]), ("003", [7, 8, 9, 10, 11])
    ]  # fmt: skip


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers(store, start):
    bursts = REDS(store, size=32, length=6)
    expected = torch.stack([bursts[i] for i in range(6)])  # the database is open in this process now
    loader = DataLoader(
        bursts, batch_size=2, num_workers=2 if start == "fork" else 1, multiprocessing_context=start,
        persistent_workers=True, prefetch_factor=2,
    )  # fmt: skip
    for _ in range(2):
        assert torch.cat(list(loader)).equal(expected)
    assert bursts[5].equal(expected[5])
    assert pickle.loads(pickle.dumps(bursts))[5].equal(expected[5])


@pytest.mark.parametrize(
    "argument",
    [
        {"frames": 4}, {"frames": -1}, {"size": 31}, {"size": (32, 0)}, {"clips": []}, {"interval_list": ()},
        {"interval_list": (1, 0)}, {"random_reverse": True, "augment": False}, {"seed": -1}, {"length": 0},
        {"exclude": ["002"], "clips": ["001"]},
    ],
    ids=str,
)  # fmt: skip
def test_arguments_out_of_range_are_named(clips, argument):
    with pytest.raises(ValueError, match=rf"^REDS: {next(iter(argument))}: found .*, expected [^\n]*$"):
        REDS(clips, **argument)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"size": 64}, "found frames of 64x48 pixels, expected at least 64x64"),
        ({"size": (20, 64)}, "found frames of 64x48 pixels, expected at least 64x20 and 20x64"),
        ({"frames": 13}, "clip 001: found 12 frames, expected at least 13 for bursts of 13 at interval 1"),
        ({"interval_list": (1, 3)}, "clip 001: found 12 frames, expected at least 13 for bursts of 5 at interval 3"),
        ({"interval_list": (3,), "border_mode": True}, "clip 001: found 12 frames, expected at least 15 for"),
        ({"clips": ["001", "7"]}, "found no clip 7, expected one of 000 to 003"),
        ({"exclude": ["000", "001", "002", "003"]}, "found no clip but 000, 001, 002, 003, which are excluded"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_the_source(clips, arguments, words):
    with pytest.raises(UserError) as error:
        REDS(clips, **{"size": 32, **arguments})
    assert str(error.value).startswith(f"{clips}: {words}")
    assert "\n" not in str(error.value)


def test_index_out_of_range(clips):
    bursts = REDS(clips, size=8, length=3)
    assert len(bursts) == 3
    for index in (3, -1):
        with pytest.raises(IndexError, match="expected 0 to 2"):
            bursts[index]


# Training and validation


def test_no_overlap_within_a_source(clips, store, tmp_path):
    training = REDS(store, size=8)
    check_no_overlap(training, REDS(store, size=8, clips=["000"], augment=False))
    check_no_overlap(StillsInMotion("skimage", size=8), training)
    check_no_overlap(training, StillsInMotion("skimage", size=8))
    (tmp_path / "link").symlink_to(store)
    for source in (store, tmp_path / "link", clips):
        with pytest.raises(UserError, match=r"^datasets\.val: 001, 003 of .* are in the training set \(.*lmdb\) too; "):
            check_no_overlap(training, REDS(source, size=8, clips=["001", "003"], augment=False))


def test_no_overlap_through_regrouping(tmp_path, make_clips):
    """Validation clip 001 is training clip 241; clip 000 of both is not the same."""
    training = make_clips(tmp_path / "train", {"002": range(5), "005": range(5)})
    validation = make_clips(tmp_path / "val", {"003": range(5)})
    (validation / "003").rename(validation / "002")
    check_no_overlap(REDS(training, size=8), REDS(validation, size=8, augment=False))
    (training / "241").symlink_to(validation / "002")
    with pytest.raises(UserError, match=r"^datasets\.val: 002 of .*/val are in the training set \(.*/train\) too; "):
        check_no_overlap(REDS(training, size=8), REDS(validation, size=8, augment=False))


# Options


def test_option_file(tmp_path, make_clips, monkeypatch):
    """The shipped option file, on clips that lie where datasets/README.md says, from whatever folder."""
    names = ["000", "001", "011", "015", "020"]
    clips = make_clips(tmp_path / "clips", {name: range(6) for name in names}, 384, 400)
    write_store(clips, tmp_path / "datasets/REDS/train_sharp_wval.lmdb")
    repository = files.SHIPPED
    monkeypatch.setattr(files, "SHIPPED", tmp_path)
    options = load_options(repository / "options/train/two_stage_REDS.yml", ["datasets:val:size=[384, 400]"])
    training, validation = build(DATASETS, options.datasets.train), build(DATASETS, options.datasets.val)
    check_no_overlap(training, validation)
    patch, window, frames = options.train.patch_size, options.matching.search_window, training.frames
    assert training[0].shape[-1] == 2 * (patch + window * (frames // 2))
    assert {validation.choose(i).clip for i in range(len(validation))} == {"000", "011", "015", "020"}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"clips": [0, 9]}, "clips.0: found 0, expected a string"),
        ({"interval_list": 2}, "interval_list: found 2, expected a list"),
        ({"frames": 6}, "REDS: frames: found 6, expected an odd number"),
        ({"size": 100}, "found frames of 64x48 pixels"),
    ],
)
def test_errors_in_an_option_file(clips, node, words):
    with pytest.raises(UserError, match=words) as error:
        build(DATASETS, {"type": "REDS", "source": str(clips), "size": 32, **node}, "x.yml")
    assert str(error.value).startswith("x.yml: ")
