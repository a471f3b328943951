import os
import pickle
import re
import resource
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file
from torch import nn

from twostagealign.archs import GCPNet, to_released
from twostagealign.data.burst import Burst, RawFrame
from twostagealign.isp import protocol_camera
from twostagealign.matching import Search
from twostagealign.models import checkpoint
from twostagealign.models.checkpoint import (
    find_checkpoint,
    load_into,
    load_strictly,
    load_torch_file,
    load_weights,
    open_restorer,
    save_torch_file,
    save_weights,
)
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import Tiling
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import write_atomically


@pytest.fixture
def restorer(make_restorer):
    return make_restorer()


def message_of(function, *arguments) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def assert_equal(state, expected) -> None:
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert state[name].dtype == torch.float32
        assert torch.equal(state[name], tensor), name


def released(restorer, kind: str, prefix: str = "") -> dict[str, torch.Tensor]:
    module = getattr(restorer, kind)
    state = to_released(type(module).__name__, module.state_dict())
    assert any(name.startswith(("ConvBGRU.", "simple_block.")) for name in state)
    return {prefix + name: tensor for name, tensor in state.items()}


class TestRoundTrip:
    def test_weights_and_metadata(self, tmp_path, restorer, nodes) -> None:
        path = tmp_path / "net.safetensors"
        save_weights(path, restorer.state_dict(), nodes | {"iteration": 7})
        state, metadata = load_weights(path)
        assert_equal(state, restorer.state_dict())
        assert metadata == nodes | {"iteration": 7}
        assert_equal(load_file(path), restorer.state_dict())  # other programs can read it
        assert list(tmp_path.iterdir()) == [path]

    def test_the_networks_are_built_from_the_metadata(self, tiny_checkpoint, restorer) -> None:
        opened = open_restorer(tiny_checkpoint)
        assert_equal(opened.state_dict(), restorer.state_dict())
        assert not opened.training
        assert opened.network.alignment.level1.deform.offset_groups == 4

    def test_metadata_that_names_no_network(self, tmp_path, restorer, nodes) -> None:
        path = tmp_path / "net.safetensors"
        save_weights(path, restorer.state_dict(), nodes | {"network": {"type": "TwoStageNt", "nf": 8}})
        assert message_of(open_restorer, path).startswith(f"{path}: type: found 'TwoStageNt', expected one of Two")

    @pytest.mark.parametrize("metadata", [None, "[1, 2]", "7", '"text"', '{"iteration": 3}'])
    def test_weights_whose_networks_are_not_known_are_refused(self, tmp_path, make_restorer, metadata) -> None:
        """They fit the default networks, but may be of others: options without weights of their own differ too."""
        path = tmp_path / "net.safetensors"
        restorer = make_restorer(channels=16)
        save_file(restorer.state_dict(), path, metadata=metadata and {checkpoint.METADATA_KEY: metadata})
        message = message_of(open_restorer, path)
        assert message.startswith(f"{path}: lacks the metadata that say which networks its weights belong to; give ")
        load_into(other := make_restorer(seed=1, channels=16), path)  # where the networks are known
        assert_equal(other.state_dict(), restorer.state_dict())


class TestNumbers:
    """Weights are finite real numbers, in every file that is read or written."""

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            (torch.tensor([1.0, torch.nan]), "holds infinite values or NaN"),
            (torch.tensor([1.0, -torch.inf]), "holds infinite values or NaN"),
            (torch.ones(2, dtype=torch.int64), "found int64, expected floating-point numbers"),
            (torch.ones(2, dtype=torch.complex64), "found complex64, expected floating-point numbers"),
            (torch.ones(2, dtype=torch.float8_e4m3fn), "found float8_e4m3fn, expected floating-point numbers"),
        ],
    )
    def test_others_are_refused(self, tmp_path, value, problem) -> None:
        state = {"good": torch.ones(1), "bad": value}
        for name in ("net.pth", "net.safetensors"):
            path = tmp_path / name
            save_file(state, path) if path.suffix == ".safetensors" else torch.save({"params": state}, path)
            assert message_of(load_weights, path).startswith(f"{path}: weight bad")
            assert problem in message_of(load_weights, path)
        old = path.read_bytes()
        assert problem in message_of(save_weights, path, state, {})
        assert path.read_bytes() == old

    @pytest.mark.parametrize(
        "value", [torch.eye(3).to_sparse(), torch.ones(1).expand(2**40)], ids=["sparse", "repeated"]
    )
    def test_tensors_that_do_not_hold_all_their_numbers(self, tmp_path, value) -> None:
        path = tmp_path / "net.pth"
        torch.save({"params": {"bad": value}}, path)
        expected = "weight bad: sparse, or without all of its numbers; expected a dense tensor"
        assert message_of(load_weights, path) == f"{path}: {expected}"


class TestForeignFiles:
    """What .pth files look like that were not written here; all are of the default features (16 channels)."""

    @pytest.fixture
    def restorer(self, make_restorer):
        return make_restorer(channels=16)

    @pytest.mark.parametrize("prefix", ["", "module."])
    @pytest.mark.parametrize("half", [False, True])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_state_dict(self, tmp_path, restorer, make_restorer, prefix, half, zipped) -> None:
        path = tmp_path / "net.pth"
        state = {name: tensor.half() if half else tensor for name, tensor in restorer.state_dict().items()}
        saved = {prefix + name: tensor for name, tensor in state.items()}
        torch.save(saved, path, _use_new_zipfile_serialization=zipped)
        expected = {name: tensor.float() for name, tensor in state.items()}
        assert_equal(load_weights(path)[0], expected)
        other = make_restorer(seed=1, channels=16)
        load_into(other, path)
        assert_equal(other.state_dict(), expected)

    @pytest.mark.parametrize(
        "order", [("params", "params_ema"), ("params_ema", "params"), ("params_ema",), ("model", "ema"), ("params",)]
    )
    def test_averaged_weights_go_first(self, tmp_path, restorer, make_restorer, nodes, order) -> None:
        path = tmp_path / "net.pth"
        raw = make_restorer(seed=1, channels=16)
        averaged = [key for key in order if "ema" in key]
        metadata = {"metadata": nodes | {"features": {"type": "LowResolutionFeatures"}}}
        torch.save({key: (restorer if key in averaged else raw).state_dict() for key in order} | metadata, path)
        assert_equal(open_restorer(path).state_dict(), (restorer if averaged else raw).state_dict())
        asked_for = load_weights(path, averaged=False)[0]
        assert_equal(asked_for, (restorer if len(averaged) == len(order) else raw).state_dict())

    def test_training_state_of_this_project(self, tmp_path, make_restorer, nodes) -> None:
        restorer, path = make_restorer(), tmp_path / "latest.state"
        state = {"model": make_restorer(seed=1).state_dict(), "ema": restorer.state_dict(), "metadata": nodes}
        save_torch_file(path, state | {"iteration": 3, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}})
        assert_equal(open_restorer(path).state_dict(), restorer.state_dict())
        assert load_torch_file(path)["iteration"] == 3


class TestReleasedFiles:
    @pytest.fixture
    def restorer(self, make_restorer):
        return make_restorer(channels=16)

    @pytest.mark.parametrize("prefix", ["", "module."])
    @pytest.mark.parametrize("wrapped", [False, True])
    def test_both_files(self, tmp_path, restorer, make_restorer, prefix, wrapped) -> None:
        paths = {kind: tmp_path / f"{kind}.pth" for kind in ("network", "features")}
        for kind, path in paths.items():
            state = released(restorer, kind, prefix)
            torch.save({"params": state} if wrapped else state, path)
        opened = open_restorer(paths["network"], paths["features"])
        assert_equal(opened.state_dict(), restorer.state_dict())
        assert not opened.training

        other = make_restorer(seed=1, channels=16)
        load_into(other, paths["features"])
        assert_equal(other.features.state_dict(), restorer.features.state_dict())
        assert_equal(other.network.state_dict(), make_restorer(seed=1, channels=16).network.state_dict())
        load_into(other, paths["network"])
        assert_equal(other.state_dict(), restorer.state_dict())

    def test_one_without_the_other(self, tmp_path, restorer, tiny_checkpoint) -> None:
        network, features = tmp_path / "G.pth", tmp_path / "DSNet.pth"
        torch.save(released(restorer, "network"), network)
        torch.save(released(restorer, "features"), features)
        assert f"{network}: holds the network only" in message_of(open_restorer, network)
        assert f"{features}: holds the feature net only" in message_of(open_restorer, features)
        assert f"{features}: holds the feature net only" in message_of(open_restorer, features, network)
        assert f"{features}: not needed" in message_of(open_restorer, tiny_checkpoint, features)

    def test_features_file_that_holds_something_else(self, tmp_path, restorer, tiny_checkpoint) -> None:
        """Random features or other weights than the network's must not pass unnoticed."""
        path = tmp_path / "G.pth"
        torch.save(released(restorer, "network"), path)
        for other in (path, tiny_checkpoint):
            assert message_of(open_restorer, path, other).startswith(f"{other}: holds no released feature net")

    def test_of_another_width(self, tmp_path, restorer, make_restorer) -> None:
        path = tmp_path / "G.pth"
        torch.save(released(make_restorer(nf=12), "network"), path)
        message = message_of(load_into, restorer, path)
        assert f"{path}: does not fit TwoStageNet" in message
        assert "(found [12, 8, 3, 3], expected [8, 8, 3, 3])" in message

    def test_damaged(self, tmp_path, restorer) -> None:
        state = released(restorer, "network")
        removed = [name for name in state if name.startswith("feature_extract.simple_block.0")]
        path, features = tmp_path / "G.pth", tmp_path / "DSNet.pth"
        torch.save({name: tensor for name, tensor in state.items() if name not in removed}, path)
        torch.save(released(restorer, "features"), features)
        assert str(path) in message_of(open_restorer, path, features)


class TestFittingInPart:
    def test_what_fits_is_taken_and_the_rest_is_left(self, tmp_path, restorer, make_restorer) -> None:
        path = tmp_path / "net.safetensors"
        state = restorer.state_dict()
        names = list(state)
        fitting = {name: state[name] for name in names[::2]}
        save_weights(path, fitting | {names[1]: torch.zeros(3, 3, 3), "foreign": torch.ones(1)}, {})
        other, before = make_restorer(seed=1), make_restorer(seed=1).state_dict()
        load_into(other, path, strict=False)
        assert_equal(other.state_dict(), before | fitting)

    def test_nothing_fits(self, tmp_path, restorer) -> None:
        path = tmp_path / "net.safetensors"
        save_weights(path, {"foreign": torch.ones(1)}, {})
        assert message_of(load_into, restorer, path, False) == (
            f"{path}: found no entry that fits TwoStageRestorer, expected one at least"
        )


class TestMisfits:
    def test_missing_unexpected_and_misshapen_entries_are_named_in_one_line(self, tmp_path, restorer) -> None:
        state, path = restorer.state_dict(), tmp_path / "net.pth"
        state["network.fusion.gate.weight"] = state.pop("network.fusion.merge.weight")
        state["features.layers.0.weight"] = torch.zeros(8, 4, 5, 5)
        torch.save(state, path)
        assert message_of(load_into, restorer, path) == (
            f"{path}: does not fit TwoStageRestorer: 1 missing: network.fusion.merge.weight; "
            "1 unexpected: network.fusion.gate.weight; "
            "1 of another shape: features.layers.0.weight (found [8, 4, 5, 5], expected [8, 4, 3, 3])"
        )

    def test_of_many_entries_the_first_are_named(self) -> None:
        module = torch.nn.Sequential(*(torch.nn.Linear(1, 1, bias=False) for _ in range(7)))
        message = message_of(load_strictly, module, {}, Path("net.pth"))
        assert message == (
            "net.pth: does not fit Sequential: 7 missing: 0.weight, 1.weight, 2.weight, 3.weight, 4.weight, and 2 more"
        )

    def test_nothing_is_loaded_of_what_does_not_fit(self, tmp_path, restorer, make_restorer) -> None:
        state, path = make_restorer(seed=1).state_dict(), tmp_path / "net.pth"
        del state["network.fusion.merge.weight"]
        torch.save(state, path)
        message_of(load_into, restorer, path)
        assert_equal(restorer.state_dict(), make_restorer().state_dict())

    def test_of_another_width(self, tmp_path, restorer, make_restorer) -> None:
        path = tmp_path / "net.pth"
        torch.save(make_restorer(nf=16).state_dict(), path)
        message = message_of(load_into, restorer, path)
        assert f"{path}: does not fit TwoStageRestorer: " in message
        assert "network.features.stem.0.weight (found [16, 8, 3, 3], expected [8, 8, 3, 3])" in message

    @pytest.mark.parametrize(
        "state",
        [
            {"conv1.weight": torch.zeros(3)},  # some other network
            {"network.features.stem.0.weight": torch.zeros(8, 8, 3, 3)},
            {
                "network.features.stem.0.weight": torch.tensor(1.0),
                "network.alignment.level1.deform.predictor.weight": torch.tensor(1.0),
            },
            {
                "network.features.stem.0.weight": torch.zeros(7, 8, 3, 3),
                "network.alignment.level1.deform.predictor.weight": torch.zeros(54, 7, 3, 3),
            },
        ],
    )
    def test_weights_of_another_kind_of_network(self, tmp_path, state) -> None:
        path = tmp_path / "net.pth"
        torch.save(state, path)
        assert message_of(open_restorer, path).startswith(f"{path}: ")


class TestNames:
    """Of shipped checkpoints, wherever one is taken."""

    def test_name_or_file(self, tmp_path, monkeypatch) -> None:
        monkeypatch.chdir(tmp_path)
        for file in ("net.pth", "tiny"):
            (tmp_path / file).touch()
        assert find_checkpoint("net.pth") == Path("net.pth")
        assert find_checkpoint("tiny").name == "two_stage_tiny.safetensors"
        assert find_checkpoint("./tiny") == Path("tiny")

    @pytest.mark.parametrize("text", ["base", "tiny.safetensors", "two_stage_tiny"])
    def test_neither(self, text) -> None:
        expected = f"{text}: no such file, and none of the shipped checkpoints: tiny, tiny-free"
        assert message_of(find_checkpoint, text) == expected

    def test_it_does_not_depend_on_the_working_folder(self, tmp_path, monkeypatch) -> None:
        path = find_checkpoint("tiny")
        monkeypatch.chdir(tmp_path)
        assert find_checkpoint("tiny") == path
        assert path.is_file()
        assert find_checkpoint("experiments/pretrained/two_stage_tiny.safetensors").samefile(path)


class TestUnreadable:
    @pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".state"])
    def test_no_checkpoint(self, tmp_path, suffix) -> None:
        path = tmp_path / f"net{suffix}"
        assert message_of(load_weights, path).startswith(f"{path}: no such file, expected a ")
        path.mkdir()
        assert message_of(load_weights, path).startswith(f"{path}: is a folder, expected a ")
        path.rmdir()
        os.mkfifo(path)
        assert message_of(load_weights, path).startswith(f"{path}: is a pipe, a device or a socket, expected a ")
        path.unlink()
        for content in (b"", b"name: two_stage\nseed: 0\n" * 20, bytes(range(256))):
            path.write_bytes(content)
            problem = f"damaged or of another kind ({len(content)} bytes)" if content else "an empty file"
            assert message_of(load_weights, path) in (
                f"{path}: not a checkpoint with plain tensors: {problem}",
                f"{path}: not a safetensors file: {problem}",
            )

    @pytest.mark.parametrize("keep", [0.02, 0.5, 0.999])
    def test_truncated(self, tmp_path, tiny_checkpoint, restorer, keep) -> None:
        torch.save(restorer.state_dict(), tmp_path / "whole.pth")
        torch.save(restorer.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
        for whole in (tiny_checkpoint, tmp_path / "whole.pth", tmp_path / "old.pth"):
            load_weights(whole)
            path = tmp_path / f"cut_{whole.name}"
            path.write_bytes(whole.read_bytes()[: int(keep * whole.stat().st_size)])
            message = message_of(load_weights, path)
            assert message.startswith(f"{path}: not a ")
            assert ": damaged or of another kind (" in message

    @pytest.mark.parametrize(
        ("name", "content", "problem"),
        [
            ("a.pth", b"\x89PNG\r\n\x1a\n" + bytes(50), "a picture"),
            ("a.safetensors", b"\xff\xd8\xff\xe0" + bytes(50), "a picture"),
            ("a.safetensors", b"\n<!DOCTYPE html><html>", "a web page instead of the file; download it again"),
            ("a.pth", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer; fetch the file"),
            ("a.pth", save({"a": torch.zeros(1)}), "a safetensors file; rename it to end in .safetensors"),
            ("a.safetensors", {"a": torch.zeros(1)}, "a file of torch.save; rename it to end in .pth"),
            ("a.pth", nn.Conv2d(1, 1, 1), "holds Python objects (torch.nn.modules.conv.Conv2d); save the state dict"),
        ],
    )
    def test_sound_files_of_other_programs_are_called_what_they_are(self, tmp_path, name, content, problem) -> None:
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        message = message_of(load_weights, path)
        assert f": {problem}" in message
        assert "damaged" not in message

    def test_archives_of_something_else(self, tmp_path) -> None:
        path = tmp_path / "a.pth"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word/document.xml", "<x/>")
        assert message_of(load_weights, path).endswith(": a zip archive of something else")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", b"")
            archive.writestr("net/constants.pkl", b"")
        assert message_of(load_weights, path).endswith(": a TorchScript program; save its state dict instead")

    def test_an_archive_whose_directory_is_damaged(self, tmp_path) -> None:
        path = tmp_path / "net.pth"
        torch.save({"a": torch.zeros(1)}, path)
        path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x01\x03"))
        assert message_of(load_weights, path).endswith(f": damaged ({path.stat().st_size} bytes)")

    @pytest.mark.parametrize("content", [{}, [torch.zeros(1)], 3, {"a": 1}, {0: torch.zeros(1)}, {"params": {}}])
    def test_no_weights_in_it(self, tmp_path, content) -> None:
        path = tmp_path / "net.pth"
        torch.save(content, path)
        assert message_of(load_weights, path) == f"{path}: holds no weights, expected a state dict of tensors"

    @pytest.mark.parametrize("metadata", ["{", "[" * 100_000])
    def test_metadata_that_is_no_json(self, tmp_path, metadata) -> None:
        path = tmp_path / "net.safetensors"
        save_file({"a": torch.zeros(1)}, path, metadata={checkpoint.METADATA_KEY: metadata})
        assert message_of(load_weights, path).startswith(f"{path}: damaged")


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, form) -> None:
    target, path = tmp_path / "target", tmp_path / "net.pth"
    content = {"weight": torch.zeros(1), "metadata": Malicious(target)}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content["metadata"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    for read in (load_weights, load_torch_file, open_restorer):
        assert message_of(read, path).startswith(f"{path}: not a checkpoint with plain tensors: ")
        assert not target.exists()
    if form == "pickle":
        pickle.loads(path.read_bytes())
    else:
        torch.load(path, weights_only=False)
    assert target.exists()  # it was armed


class TestInterruptedWrites:
    """The old file stays whole, and nothing else stays."""

    @pytest.fixture
    def old(self, tmp_path) -> Path:
        path = tmp_path / "net.file"
        path.write_text("old")
        return path

    def check(self, old: Path) -> None:
        assert old.read_text() == "old"
        assert list(old.parent.iterdir()) == [old]

    @pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
    def test_in_the_middle(self, old, failure) -> None:
        def write(path: Path) -> None:
            path.write_text("ne")
            raise failure

        expected = UserError if isinstance(failure, OSError) else failure
        with pytest.raises(expected) as caught:
            write_atomically(old, write)
        if expected is UserError:
            assert str(caught.value) == f"{old}: cannot be written (No space left on device)"
        self.check(old)

    def test_before_the_new_file_takes_its_place(self, old, monkeypatch) -> None:
        monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            write_atomically(old, lambda path: path.write_text("new"))
        self.check(old)

    @pytest.mark.parametrize("write", [save_torch_file, lambda path, state: save_weights(path, state, {})])
    def test_no_room(self, old, write) -> None:
        """A limit on the size of files stands in for a full disk; the write is cut off by it in the same way."""
        state = {"weight": torch.zeros(100_000)}
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        try:
            message = message_of(write, old, state)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        # safetensors, PyTorch and Python report it in words of their own.
        assert re.fullmatch(rf"{old}: cannot be written \(.*(disk full|[Ff]ile too large).*\)", message)
        self.check(old)

    def test_in_a_folder_that_is_not_there(self, tmp_path, restorer) -> None:
        path = tmp_path / "none" / "net.safetensors"
        assert message_of(save_weights, path, restorer.state_dict(), {}).startswith(f"{path}: cannot be written (")
        assert list(tmp_path.iterdir()) == []

    def test_a_finished_write_replaces_the_old_file(self, old) -> None:
        write_atomically(old, lambda path: path.write_text("new"))
        assert old.read_text() == "new"
        assert list(old.parent.iterdir()) == [old]


class TestNetworksWithoutBlockMatching:
    def gcp_net(self, path: Path) -> Path:
        torch.save(to_released("GCPNet", GCPNet(nf=8, groups=4, frames=3).state_dict()), path)
        return path

    def test_a_released_gcp_net_needs_no_feature_net(self, tmp_path) -> None:
        opened = open_restorer(self.gcp_net(tmp_path / "gcp.pth"), search=Search(32))
        assert isinstance(opened.network, GCPNet)
        assert opened.matcher.search == Search(32, block_matching=False)

    def test_block_matching_in_front_of_a_released_gcp_net(self, tmp_path, make_restorer) -> None:
        features = make_restorer(channels=16).features
        torch.save(to_released("LowResolutionFeatures", features.state_dict()), tmp_path / "features.pth")
        opened = open_restorer(self.gcp_net(tmp_path / "gcp.pth"), tmp_path / "features.pth")
        assert opened.matcher.search.block_matching
        assert_equal(opened.features.state_dict(), features.state_dict())

    @pytest.mark.parametrize("matched", [True, False])
    def test_a_network_trained_without_it_is_used_without_it(self, tmp_path, restorer, nodes, matched) -> None:
        save_weights(tmp_path / "net.safetensors", restorer.state_dict(), nodes | {"block_matching": matched})
        assert open_restorer(tmp_path / "net.safetensors").matcher.search.block_matching == matched

    def test_another_number_of_frames(self, tmp_path) -> None:
        opened = open_restorer(self.gcp_net(tmp_path / "gcp.pth"))
        frames = [RawFrame(torch.rand(4, 8, 8), torch.full((4, 8, 8), 0.02)) for _ in range(5)]
        with pytest.raises(UserError, match="this GCPNet was made for bursts of 3 frames, not 5; use 3 frames"):
            restore_frame(opened, Burst(frames, protocol_camera()), Tiling(patch=8, halo=4))
