import logging

import pytest
import torch

from twostagealign.engine import checkpoint, experiment
from twostagealign.engine.checkpoint import load_torch_file, load_weights, save_torch_file
from twostagealign.engine.experiment import Experiment
from twostagealign.errors import UserError


def files(folder) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def message_of(function, *arguments, **keywords) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def save(run: Experiment, iteration: int) -> None:
    weights = {"a": torch.full((2,), float(iteration))}
    run.save(iteration, weights, {"network": {"type": "N"}}, {"iteration": iteration, "model": weights})


SAVED_AT_2 = {
    "models/net_2.safetensors",
    "models/net_latest.safetensors",
    "training_states/2.state",
    "training_states/latest.state",
}


def test_save_writes_weights_and_state_by_iteration_and_as_latest(tmp_path) -> None:
    run = Experiment(tmp_path / "deep" / "root", "trial", keep=False)
    assert run.latest_state() is None
    save(run, 2)
    assert files(tmp_path / "deep" / "root" / "trial") == SAVED_AT_2
    save(run, 4)
    assert files(run.folder) == SAVED_AT_2 | {"models/net_4.safetensors", "training_states/4.state"}
    for label, value in ((2, 2), (4, 4), ("latest", 4)):
        state, metadata = load_weights(run.models / f"net_{label}.safetensors")
        assert (state["a"] == value).all()
        assert metadata == {"network": {"type": "N"}, "iteration": value}
        assert load_torch_file(run.states / f"{label}.state")["iteration"] == value
    assert run.latest_state()["iteration"] == 4


@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_stopped_anywhere_in_saving_the_latest_state_and_its_weights_are_whole(tmp_path, monkeypatch, failing) -> None:
    run = Experiment(tmp_path, "trial", keep=False)
    save(run, 2)
    writes = []

    def stop(path, write):
        writes.append(path.name)
        if len(writes) == failing:
            raise KeyboardInterrupt
        original(path, write)

    original = checkpoint.write_atomically
    monkeypatch.setattr(checkpoint, "write_atomically", stop)
    with pytest.raises(KeyboardInterrupt):
        save(run, 4)
    iteration = run.latest_state()["iteration"]
    assert iteration == 2
    for path in run.states.glob("*.state"):  # no state without its weights
        iteration = load_torch_file(path)["iteration"]
        assert (load_weights(run.models / f"net_{iteration}.safetensors")[0]["a"] == iteration).all()


def test_an_existing_folder_is_archived_not_overwritten(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(experiment.time, "strftime", lambda form: "20300102_030405")  # three starts in one second
    for iteration in (2, 4, 6):
        save(Experiment(tmp_path, "trial", keep=False), iteration)
    archived = ["trial", "trial_archived_20300102_030405", "trial_archived_20300102_030405_2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == archived
    for name, iteration in zip(archived, (6, 2, 4), strict=True):
        assert (load_weights(tmp_path / name / "models" / "net_latest.safetensors")[0]["a"] == iteration).all()


def test_an_existing_folder_is_kept_to_go_on_in(tmp_path) -> None:
    save(Experiment(tmp_path, "trial", keep=False), 2)
    run = Experiment(tmp_path, "trial", keep=True)
    assert run.latest_state()["iteration"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["trial"]


def test_states_that_are_none(tmp_path) -> None:
    run = Experiment(tmp_path, "trial", keep=False)
    for content in ({"params": torch.zeros(1)}, [1]):
        save_torch_file(run.latest, content)
        assert message_of(run.latest_state) == f"{run.latest}: holds no training state"
    run.latest.write_bytes(run.latest.read_bytes()[:100])
    assert message_of(run.latest_state).startswith(f"{run.latest}: damaged")


def test_folders_that_cannot_be(tmp_path) -> None:
    (tmp_path / "file").touch()
    assert message_of(Experiment, tmp_path / "file", "trial", keep=False).startswith(f"{tmp_path}/file/trial: ")
    assert message_of(Experiment, tmp_path / "file", "trial", keep=True).startswith(f"{tmp_path}/file/trial: ")


def test_log_holds_what_is_said_from_info_on_while_it_is_open(tmp_path) -> None:
    run = Experiment(tmp_path, "trial", keep=False)
    logger = logging.getLogger("twostagealign.test")
    logger.warning("before")
    for round_ in (1, 2):
        with run.log_to_file(logger):
            logger.info("iteration %d", round_)
            logger.debug("detail")
    logger.warning("after")
    lines = (run.folder / "train.log").read_text().splitlines()
    assert [line.partition(" INFO: ")[2] for line in lines] == ["iteration 1", "iteration 2"]
    assert logger.handlers == []
    assert logger.level == logging.NOTSET
