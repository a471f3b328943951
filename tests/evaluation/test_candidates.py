from pathlib import Path

import pytest

from twostagealign.evaluation.candidates import label_checkpoints
from twostagealign.runtime.bounds import is_folder_name
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.ranks import Ranks


@pytest.mark.parametrize(
    ("files", "labels"),
    [
        (["x/net_g.pth"], ["net_g"]),
        (["experiments/tiny/models/net_latest.safetensors"], ["tiny_net_latest"]),
        (["experiments/tiny/training_states/800.state"], ["tiny_800"]),
        (["a/net.pth", "b/net.pth"], ["a_net", "b_net"]),
        (["a/tiny/models/net_1.pth", "b/tiny/models/net_1.pth"], ["a_tiny_net_1", "b_tiny_net_1"]),
        (["a/net.pth", "a/net.safetensors"], ["net_pth", "net_safetensors"]),
        (["a/best net (2).pth"], ["best_net_2_"]),
    ],
)
def test_labels(files, labels) -> None:
    found = label_checkpoints([Path("/data") / file for file in files])
    assert [label[-len(expected) :] for label, expected in zip(found, labels, strict=True)] == labels
    assert len(set(found)) == len(files)
    if len(files) == 1:
        assert found == labels


def test_same_file_under_two_names(tmp_path) -> None:
    (tmp_path / "link.pth").symlink_to(tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"found the same checkpoint twice, expected different ones"):
        label_checkpoints([tmp_path / "net.pth", tmp_path / "link.pth"])


def test_labels_are_fit_for_folders() -> None:
    for name in ("-x.pth", "...pth", "é.pth", "a" * 20 + ".pth"):
        assert is_folder_name(label_checkpoints([Path(name)])[0])


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_item_is_one_ranks(count) -> None:
    shares = [Ranks(rank, count).share(range(5)) for rank in range(count)]
    assert sorted(item for share in shares for item in share) == list(range(5))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_alone_there_is_nobody_to_wait_for() -> None:
    assert Ranks().gather([1, 2]) == [1, 2]
    Ranks().wait()
