import logging
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from twostagealign.data import BUNDLED, PROTOCOL_NOISE, bundled_picture, degrade, write_picture
from twostagealign.matching import Search
from twostagealign.models.checkpoint import load_torch_file, load_weights, open_restorer, save_weights
from twostagealign.options import load_options
from twostagealign.runtime.device import pick_dtype
from twostagealign.runtime.errors import UserError
from twostagealign.training.build import build_trainer
from twostagealign.training.trainer import Hooks, StepReport, Trainer
from twostagealign.training.validation import Validation


class Watch(Hooks):
    """Does something after each step."""

    def __init__(self, action: Callable[[Trainer, StepReport], object]) -> None:
        self.action = action

    def on_step(self, trainer: Trainer, report: StepReport) -> None:
        self.action(trainer, report)


def interrupt_after(iteration: int) -> Watch:
    def action(trainer: Trainer, report: StepReport) -> None:
        if trainer.progress.iteration == iteration:
            raise KeyboardInterrupt

    return Watch(action)


def run_experiment(
    path, name: str, *overrides: str, resume: bool = False, stop: int | None = None, hooks=(), prepare=None
):
    """Run an experiment under a name, with further options; interrupt it after `stop` steps.

    `prepare` gets the trainer before it runs.
    """
    hooks = [*hooks, *([] if stop is None else [interrupt_after(stop)])]
    trainer = build_trainer(load_options(path, [f"name={name}", *overrides]), resume, hooks=hooks)
    if prepare:
        prepare(trainer)
    with nullcontext() if stop is None else pytest.raises(KeyboardInterrupt):
        trainer.run()
    return trainer.experiment


def last_state(run) -> dict:
    """The newest training state of an experiment, as it is on disk."""
    return load_torch_file(run.states / f"{run.saved_iterations()[0]}.state")


@pytest.fixture
def train(tiny_experiment):
    return partial(run_experiment, tiny_experiment)


@pytest.fixture(scope="module")
def whole(module_experiment):
    """A run from begin to end, without a break, with all that can be written."""
    return run_experiment(module_experiment, "whole", "logger:tensorboard=true", "val:every=3")


def message_of(function, *arguments, **keywords) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **keywords)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def assert_same(found, expected, where: str = "") -> None:
    """Equal to the bit, all the way down."""
    assert type(found) is type(expected), where
    if isinstance(expected, torch.Tensor):
        assert torch.equal(found, expected), where
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(found[key], expected[key], f"{where}/{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), where
        for index, entries in enumerate(zip(found, expected, strict=True)):
            assert_same(*entries, f"{where}/{index}")
    else:
        assert found == expected, where


def assert_same_end(found, expected) -> None:
    """Weights, average, optimiser and schedule, and what is shipped of them; however often they were validated."""
    assert_same(*({**last_state(run), "best_psnr": None} for run in (found, expected)))
    for name in ("net_latest", "net_6"):
        assert_same(*(load_weights(run.models / f"{name}.safetensors") for run in (found, expected)))


class TestReproducibility:
    def test_two_runs_of_one_seed_are_the_same_and_of_another_are_not(self, train, whole) -> None:
        seeds = []
        watch = Watch(lambda trainer, report: seeds.extend(seed for batch in report.batches for seed in batch.seeds))
        torch.rand(7)  # nor does it matter what was drawn before
        assert_same_end(train("same", hooks=[watch]), whole)
        other = train("other", "seed=1", "train:total_iter=2", hooks=[watch])
        first, second = (load_weights(run.models / "net_2.safetensors")[0] for run in (whole, other))
        assert not any(torch.equal(first[name], second[name]) for name in first if "weight" in name)
        assert len(set(seeds)) == len(seeds) == 2 * (6 + 2)  # each burst is degraded in its own way

    def test_training_changes_every_weight_and_the_average_is_another_one(self, whole) -> None:
        states = [load_torch_file(whole.states / f"{label}.state") for label in (2, 6)]
        assert [state["iteration"] for state in states] == [2, 6]
        for kind in ("model", "ema"):
            for name, tensor in states[0][kind].items():
                # The bias before the instance norm has no effect.
                assert name == "features.layers.6.bias" or not torch.equal(tensor, states[1][kind][name]), name
        assert any(not torch.equal(states[1]["ema"][name], states[1]["model"][name]) for name in states[1]["ema"])
        # The average is what is shipped.
        assert_same(load_weights(whole.models / "net_latest.safetensors")[0], dict(states[1]["ema"]))

    def test_the_average_is_the_exponential_one_and_starts_quickly(self, train) -> None:
        run = train("tiny", "logger:checkpoint_every=1", "train:total_iter=3", "train:ema_decay=0.2")
        states = [load_torch_file(run.states / f"{iteration}.state") for iteration in (1, 2, 3)]
        assert_same(dict(states[0]["ema"]), dict(states[0]["model"]))
        for decay, (before, after) in zip((2 / 11, 0.2), pairwise(states), strict=True):
            for name, tensor in after["ema"].items():
                expected = decay * before["ema"][name] + (1 - decay) * after["model"][name]
                torch.testing.assert_close(tensor, expected, rtol=1e-5, atol=1e-7)


class TestResuming:
    def test_a_run_that_was_stopped_and_resumed_ends_as_if_it_had_not_been(self, train, whole) -> None:
        """What was done since the last checkpoint is done again."""
        train("parts", "val:every=3", stop=3)
        resumed = train("parts", "val:every=3", resume=True)
        assert_same_end(resumed, whole)
        assert_same(last_state(resumed)["best_psnr"], last_state(whole)["best_psnr"])
        assert not list(resumed.folder.parent.glob("*_archived_*"))
        assert "from iteration 2" in (resumed.folder / "train.log").read_text()

    def test_resuming_a_run_of_fewer_iterations(self, train, whole) -> None:
        train("parts", "train:total_iter=4", "logger:checkpoint_every=3")
        assert_same_end(train("parts", resume=True), whole)

    def test_resuming_a_finished_run_leaves_it_as_it_is(self, train) -> None:
        run = train("tiny", "train:total_iter=1")
        before = {path: path.read_bytes() for path in run.folder.rglob("*.s*") if path.is_file()}
        train("tiny", "train:total_iter=1", resume=True)
        assert {path: path.read_bytes() for path in run.folder.rglob("*.s*") if path.is_file()} == before

    def test_resuming_where_nothing_is_starts_anew(self, train, whole) -> None:
        run = train("new", stop=3, resume=True)
        assert_same(*(load_torch_file(run.states / "2.state") for run in (run, whole)))

    def test_after_the_process_was_killed(self, train, whole, tiny_experiment) -> None:
        """Killed between two checkpoints, where no handler and no `finally` runs."""
        program = f"""
            import os, signal
            from pathlib import Path
            from twostagealign.training.build import build_trainer
            from twostagealign.training.trainer import Hooks
            from twostagealign.options import load_options
            class Kill(Hooks):
                def on_step(self, trainer, report):
                    if trainer.progress.iteration == 5:
                        os.kill(os.getpid(), signal.SIGKILL)
            build_trainer(load_options(Path({str(tiny_experiment)!r}), ["name=killed"]), hooks=[Kill()]).run()
        """
        finished = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, check=False)
        assert finished.returncode == -signal.SIGKILL, finished.stderr
        resumed = train("killed", resume=True)
        assert "from iteration 4" in (resumed.folder / "train.log").read_text()
        assert_same_end(resumed, whole)

    def test_after_a_checkpoint_that_did_not_come_to_its_end(self, train, whole) -> None:
        """The second checkpoint fails when its weights, but not its state, are written."""

        def obstruct(trainer: Trainer, report: StepReport) -> None:
            if trainer.progress.iteration == 4:
                trainer.experiment.states.joinpath("4.state").mkdir()

        message = message_of(train, "parts", hooks=[Watch(obstruct)])
        state = Path(message.partition(":")[0])
        assert state.name == "4.state"
        assert (state.parents[1] / "models" / "net_4.safetensors").exists()
        state.rmdir()
        assert_same_end(train("parts", resume=True), whole)

    def test_a_rate_of_their_own_for_deformable_layers_that_comes_and_goes(self, train) -> None:
        """At the same rate, the group makes no difference: each parameter keeps its moments."""
        plain = train("plain")
        train("parts", "train:total_iter=2")
        train("parts", "train:total_iter=4", "train:optimizer:deform_lr=1e-3", resume=True)
        parts = train("parts", resume=True)
        assert_same(last_state(parts)["model"], last_state(plain)["model"])
        assert_same(last_state(parts)["optimizer"]["state"], last_state(plain)["optimizer"]["state"])

    def test_a_loss_scale_that_comes_and_goes(self, train) -> None:
        train("parts", "train:total_iter=2")
        run = train("parts", "train:total_iter=4", "train:amp=fp16", resume=True)
        state = run.states / "2.state"
        assert f"{state}: has no loss scale, which begins as new" in (run.folder / "train.log").read_text()
        assert last_state(run)["scaler"]["_growth_tracker"] == 2
        run = train("parts", resume=True)
        assert "its loss scale is not used: train.amp is not fp16" in (run.folder / "train.log").read_text()
        assert last_state(run)["scaler"] == {}

    def test_a_new_learning_rate_is_used(self, train) -> None:
        train("parts", "train:total_iter=2")
        run = train(
            "parts",
            "train:total_iter=3",
            "train:optimizer:lr=1e-4",
            "train:scheduler:periods=[100]",
            "train:scheduler:restart_weights=[1]",
            resume=True,
        )
        (rate, *_) = [group["lr"] for group in last_state(run)["optimizer"]["param_groups"]]
        assert rate == pytest.approx(1e-4, rel=0.01)

    def test_a_state_of_another_network(self, train) -> None:
        run = train("tiny", "train:total_iter=1")
        message = message_of(train, "tiny", "network:nf=16", resume=True)
        assert message.startswith(f"{run.states}/1.state: does not fit TwoStageRestorer: ")

    def test_a_damaged_state(self, train) -> None:
        run = train("tiny", "train:total_iter=1")
        state = run.states / "1.state"
        state.write_bytes(state.read_bytes()[:1000])
        assert message_of(train, "tiny", resume=True).startswith(f"{state}: damaged (1000 bytes)")

    @pytest.mark.slow
    def test_fifty_steps_resumed_at_thirty(self, train) -> None:
        long = [
            "train:total_iter=50",
            "logger:checkpoint_every=10",
            "val:every=20",
            "matching:final_temperature_from=25",
        ]
        whole = train("whole", *long)
        train("parts", *long, stop=33)
        resumed = train("parts", *long, resume=True)
        assert_same(last_state(resumed), last_state(whole))
        assert last_state(whole)["iteration"] == 50


class TestWhatIsWritten:
    def test_files(self, whole, module_experiment) -> None:
        run = whole
        written = {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()}
        (events,) = (name for name in written if name.startswith("tb/"))
        assert written == {
            events,
            "options.yml",
            "environment.json",
            "train.log",
            *(f"models/net_{label}.safetensors" for label in (2, 4, 6, "latest", "best")),
            *(f"training_states/{label}.state{end}" for label in (2, 4, 6) for end in ("", ".sha256")),
            "visualization/3/000.png",
            "visualization/6/000.png",
        }
        assert load_options(run.folder / "options.yml") == load_options(
            module_experiment, ["name=whole", "logger:tensorboard=true", "val:every=3"]
        )
        assert cv2.imread(str(run.visualization / "6" / "000.png")).shape == (48, 3 * 48, 3)
        metadata = load_weights(run.models / "net_latest.safetensors")[1]
        assert metadata["iteration"] == 6
        assert_same(dict(open_restorer(run.models / "net_6.safetensors").state_dict()), dict(last_state(run)["ema"]))

    def test_log_and_curves_name_every_term(self, whole) -> None:
        lines = [line.partition(" INFO: ")[2] for line in (whole.folder / "train.log").read_text().splitlines()]
        assert re.fullmatch(r"whole: \d+ parameters, cpu, float32, from iteration 0", lines[0])
        reports = {}
        for line in lines:
            if found := re.fullmatch(r"iteration (\d+): (lr .+)", line):
                reports[int(found[1])] = dict(entry.split(" ") for entry in found[2].split(", "))
        terms = {"linear", "srgb", "interpolation_linear", "interpolation_srgb", "match_supervision", "one_hot"}
        system = {"bursts_per_second", "data_wait", "memory_gib"}
        assert reports.keys() == {2, 4, 6}
        for iteration, report in reports.items():
            expected = terms if iteration <= 4 else terms - {"match_supervision"}
            assert report.keys() == {"lr", "loss", "gradient_norm", "offset"} | expected | system
            values = {name: float(value) for name, value in report.items()}
            assert sum(values[name] for name in expected) == pytest.approx(values["loss"], rel=1e-3)
            assert all(value > 0 for name, value in values.items() if name != "one_hot")  # which may have won
        assert sum("validation PSNR" in line for line in lines) == 2

        events = EventAccumulator(str(whole.tensorboard))
        events.Reload()
        tags = set(events.Tags()["scalars"])
        (clip,) = (tag for tag in tags if tag.startswith("val_psnr/"))
        assert clip.removeprefix("val_psnr/") in BUNDLED
        assert events.Tags()["images"] == ["val/000"]
        assert tags - {clip} == {
            *(f"train/{name}" for name in terms | {"loss", "gradient_norm"}),
            *(f"rate/{name}" for name in ("network", "features")),
            *(f"offset/alignment.level{level}.deform" for level in (1, 2, 3)),
            *(f"system/{name}" for name in system | {"skipped"}),
            "val/psnr",
            "val/ssim",
        }
        assert [event.step for event in events.Scalars("train/loss")] == [2, 4, 6]
        assert [event.step for event in events.Scalars("val/psnr")] == [3, 6]
        # Half-way down the first cosine, at its end, and just past the peak of the second.
        for rates in (
            [float(reports[step]["lr"]) for step in (2, 4, 6)],
            [event.value for event in events.Scalars("rate/network")],
        ):
            assert rates == pytest.approx([5e-4, 1e-7, 5e-4], rel=1e-2)

    def test_a_second_run_of_the_name_archives_the_first(self, train) -> None:
        run = train("tiny", "train:total_iter=1")
        (run.folder / "notes.txt").write_text("mine")
        train("tiny", "train:total_iter=1")
        assert not (run.folder / "notes.txt").exists()
        (archived,) = run.folder.parent.glob("tiny_archived_*")
        assert (archived / "notes.txt").read_text() == "mine"
        assert (archived / "models" / "net_1.safetensors").exists()

    def test_the_last_iteration_is_reported_validated_and_saved(self, train) -> None:
        run = train("tiny", "train:total_iter=3", "logger:print_every=100", "logger:checkpoint_every=100")
        log = (run.folder / "train.log").read_text()
        assert "iteration 3: lr" in log
        assert "iteration 3: validation" in log
        assert {path.name for path in run.states.iterdir()} == {"3.state", "3.state.sha256"}


class TestSteps:
    def test_a_gradient_that_is_not_finite_is_skipped(self, train) -> None:
        def damage(trainer: Trainer) -> None:
            weight = trainer.restorer.network.fusion.merge.weight
            weight.register_hook(lambda gradient: gradient * torch.nan if trainer.progress.iteration == 1 else gradient)

        options = ["logger:checkpoint_every=1", "logger:print_every=1", "train:total_iter=3"]
        run = train("tiny", *options, prepare=damage)
        states = [load_torch_file(run.states / f"{iteration}.state") for iteration in (1, 2, 3)]
        for key in ("model", "ema"):
            assert_same(dict(states[1][key]), dict(states[0][key]))
        assert not torch.equal(
            states[2]["model"]["network.fusion.merge.weight"], states[1]["model"]["network.fusion.merge.weight"]
        )
        lines = (run.folder / "train.log").read_text().splitlines()
        assert any(
            "WARNING: iteration 2: loss or gradient is not finite, the step is skipped" in line for line in lines
        )
        assert any(re.search(r"iteration 2: lr [\d.e-]+, offset", line) for line in lines)

    def test_gradients_are_clipped(self, train) -> None:
        """Adam does not see the scale of gradients, so look at what it has averaged of them."""
        options = ["train:total_iter=1", "train:optimizer:betas=[0.0, 0.9]"]
        norms = []
        for name, clip in (("free", "null"), ("clipped", "0.5")):
            state = last_state(train(name, *options, f"train:grad_clip={clip}"))["optimizer"]["state"]
            norms.append(torch.stack([entry["exp_avg"].norm() for entry in state.values()]).norm().item())
        assert norms[0] > 10
        assert norms[1] == pytest.approx(0.5, rel=1e-3)

    def test_a_rate_of_zero_freezes_the_feature_net(self, train) -> None:
        run = train("tiny", "train:optimizer:features_lr=0", "train:total_iter=2", "logger:checkpoint_every=1")
        states = [load_torch_file(run.states / f"{iteration}.state")["model"] for iteration in (1, 2)]
        for name, tensor in states[0].items():
            assert torch.equal(tensor, states[1][name]) == name.startswith("features."), name

    def test_what_changes_in_the_course_of_a_run(self, train) -> None:
        """Temperature, interpolation branch and match supervision, each from the iteration that its option names."""
        temperatures = []

        def note(restorer, arguments) -> None:
            _, _, origins, size, temperature, *_ = arguments
            temperatures.append(temperature)
            assert (size, restorer.matcher.search.search_window, origins.unique().tolist()) == (8, 16, [8])

        def prepare(trainer: Trainer) -> None:
            trainer.restorer.register_forward_pre_hook(note)

        spaces = ("linear", "srgb")
        terms = [f"{{type: Charbonnier, space: {s}}}, {{type: Interpolation, space: {s}, until: 1}}" for s in spaces]
        losses = [f"train:losses=[{', '.join([*terms, '{type: MatchSupervision, until: 2}'])}]"]
        matching = ["matching:temperature=0.5", "matching:final_temperature=0.25", "matching:final_temperature_from=2"]
        run = train("tiny", "train:total_iter=3", "logger:print_every=1", *losses, *matching, prepare=prepare)
        assert temperatures == [0.5, 0.5, 0.25]
        lines = [line for line in (run.folder / "train.log").read_text().splitlines() if ": lr" in line]
        assert ["interpolation_linear" in line for line in lines] == [True, False, False]
        assert ["interpolation_srgb" in line for line in lines] == [True, False, False]
        assert ["match_supervision" in line for line in lines] == [True, True, False]

    def test_validation_is_of_the_average_and_as_the_options_say(self, train) -> None:
        found = []

        class Validated(Hooks):
            def on_validation(self, trainer, qualities, folder) -> None:
                found.append((qualities, trainer.validation.bursts, {path.name for path in folder.iterdir()}))

        options = ["val={every: 2, noise: low, pictures: 1, search_window: 32}", "datasets:val:length=2"]
        run = train("tiny", "train:total_iter=2", *options, hooks=[Validated()])
        ((qualities, bursts, pictures),) = found
        restorer = open_restorer(run.models / "net_latest.safetensors")
        expected = Validation(bursts, PROTOCOL_NOISE["low"], Search(32))(restorer, run.folder / "again")
        assert qualities == expected
        assert pictures == {"000.png"}
        psnr, ssim = (fmean(quality.measures[name] for quality in expected) for name in ("psnr", "ssim"))
        assert f"iteration 2: validation PSNR {psnr:.3f} dB, SSIM {ssim:.4f}" in (run.folder / "train.log").read_text()

    def test_a_training_set_that_is_too_short_is_gone_through_again(self, train) -> None:
        seen = []
        watch = Watch(lambda trainer, report: seen.append(report.batches[0].frames))
        train("tiny", "datasets:train:length=2", "train:total_iter=3", "train:batch_size=1", hooks=[watch])
        assert torch.equal(seen[2], seen[0])
        assert not torch.equal(seen[1], seen[0])

    def test_pretrained_weights(self, train, tiny_checkpoint, tmp_path, make_restorer) -> None:
        options = ["train:total_iter=1", "train:optimizer:lr=1e-12", "train:optimizer:features_lr=0"]
        run = train("tiny", *options, f"path:pretrained={tiny_checkpoint}", "train:scheduler:eta_min=0")
        model = last_state(run)["model"]
        for name, tensor in make_restorer().state_dict().items():
            torch.testing.assert_close(model[name], tensor, rtol=0, atol=1e-8)

    def test_pretrained_weights_that_fit_in_part(self, train, tmp_path) -> None:
        single = train("single", "network={type: SingleFrameNet, nf: 8}", "train:total_iter=1")
        weights = single.folder / "models/net_latest.safetensors"
        options = ["train:total_iter=1", "train:optimizer:lr=1e-12", "train:optimizer:features_lr=0"]
        options += [f"path:pretrained={weights}", "train:scheduler:eta_min=0"]
        assert "missing: network.alignment." in message_of(train, "strict", *options)
        model = last_state(train("tiny", *options, "path:strict_load=false"))["model"]
        taken = load_weights(weights)[0]
        assert len(taken) < len(model)
        for name, tensor in taken.items():
            torch.testing.assert_close(model[name], tensor, rtol=0, atol=1e-8)

    def test_pretrained_weights_of_a_narrower_network(self, train, tiny_checkpoint, make_restorer, tmp_path) -> None:
        options = ["network:nf=16", "train:total_iter=1", "train:optimizer:lr=1e-12", "train:optimizer:features_lr=0"]
        options += [f"path:pretrained={tiny_checkpoint}", "train:scheduler:eta_min=0"]
        assert "of another shape: network.features.stem.0.weight" in message_of(train, "strict", *options)
        run = train("wide", *options, "path:widen=true")
        wide, narrow = open_restorer(run.folder / "models/net_latest.safetensors"), make_restorer()
        lq = torch.rand(1, 3, 4, 16, 16)
        with torch.no_grad():
            found, expected = (restorer.network(lq, 0.1 * lq) for restorer in (wide, narrow))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * expected.abs().max().item())
        options = ["network:nf=4", "network:groups=4", *options[1:], "path:widen=true"]
        assert "does not fit into TwoStageRestorer: network.features.stem.0.weight" in message_of(
            train, "slim", *options
        )

    def test_without_matching(self, train) -> None:
        """The feature net stays as it is, no term speaks of it, and validation leaves stage one out too."""
        trainers = []
        run = train(
            "tiny",
            "matching:search_window=null",
            "datasets:train:size=32",
            "train:total_iter=2",
            prepare=trainers.append,
        )
        assert not trainers[0].validation.search.block_matching
        assert "one_hot" not in (run.folder / "train.log").read_text()
        before = train("other", "matching:search_window=null", "train:total_iter=1", "train:optimizer:lr=1e-12")
        models = last_state(run)["model"], last_state(before)["model"]
        changed = {name.split(".")[0] for name in models[0] if not torch.equal(models[0][name], models[1][name])}
        assert changed == {"network"}
        losses = "train:losses=[{type: OneHot}]"
        assert "no term counts" in message_of(train, "none", "matching:search_window=null", losses)

    def test_patches_off_the_centre(self, train) -> None:
        """From the iteration on that is named; a resumed run draws the same."""
        found = {}

        class StopWhenSaved(Hooks):
            def on_checkpoint(self, trainer: Trainer) -> None:
                if trainer.progress.iteration == 4:
                    raise KeyboardInterrupt

        def prepare(trainer: Trainer) -> None:
            def note(restorer, arguments) -> None:
                found.setdefault(trainer.progress.iteration, []).append(arguments[2].flatten(1).tolist())

            trainer.restorer.register_forward_pre_hook(note)

        options = ["train:off_centre={probability: 1, since: 1}", "train:total_iter=9", "logger:checkpoint_every=1"]
        with pytest.raises(KeyboardInterrupt):
            train("tiny", *options, hooks=[StopWhenSaved()], prepare=prepare)
        train("tiny", *options, resume=True, prepare=prepare)
        train("other", *options, prepare=prepare)
        assert found[0] == [[[8, 8]] * 2] * 2
        assert {side for i in range(1, 9) for corner in found[i][0] for side in corner} == {0, 4, 8, 12, 16}
        assert all(once == again for once, again in found.values())

    def test_patches_found_to_the_pixel(self, train) -> None:
        """In training, in validation, and from the checkpoint; the features learn as long as the match counts."""
        bursts, patches, validated = [], [], []

        class Validated(Hooks):
            def on_validation(self, trainer, qualities, folder) -> None:
                validated.append((trainer.validation, qualities))

        def prepare(trainer: Trainer) -> None:
            trainer.restorer.register_forward_pre_hook(lambda _, arguments: bursts.append(arguments[0]))
            trainer.restorer.network.register_forward_pre_hook(lambda _, arguments: patches.append(arguments[0]))

        ending = "train:losses=[{type: Charbonnier, space: linear}, {type: MatchSupervision, until: 1}]"
        options = ["matching:refine=true", "train:total_iter=2", "logger:checkpoint_every=1", ending]
        run = train("tiny", *options, hooks=[Validated()], prepare=prepare)
        # The network sees cut patches instead of blends, and not only those on the grid of the features.
        frames, cut = (torch.cat(found).flatten(0, 1) for found in (bursts, patches))
        windows = frames.unfold(2, 8, 1).unfold(3, 8, 1)
        same = (windows == cut[:, :, None, None]).all(dim=(1, 4, 5))
        assert same.any(dim=(1, 2)).all()
        assert (same.nonzero()[:, 1:] % 4 > 0).any()
        ((validation, qualities),) = validated
        restorer = open_restorer(run.models / "net_latest.safetensors")
        on_the_grid = restorer.with_matcher(replace(restorer.matcher, refine=False))
        assert validation(restorer, run.folder / "again") == qualities != validation(on_the_grid, run.folder / "again")
        assert open_restorer(run.states / "2.state").matcher.refine
        states = [load_torch_file(run.states / f"{iteration}.state")["model"] for iteration in (1, 2)]
        for name, tensor in states[0].items():
            assert torch.equal(tensor, states[1][name]) == name.startswith("features."), name
        frozen = train("other", "matching:refine=true", "train:total_iter=1", "train:optimizer:features_lr=0", ending)
        name = "features.layers.0.weight"
        assert not torch.equal(states[0][name], last_state(frozen)["model"][name])

    def test_workers_do_not_change_the_result(self, train) -> None:
        options = ["train:total_iter=2"]
        one, many = (train(name, *options, f"train:workers={n}") for name, n in (("one", 0), ("many", 2)))
        assert_same(last_state(many), last_state(one))


class TestBatches:
    def test_accumulated_batches_are_one_large_one(self, train) -> None:
        """The same bursts, averaged in another order."""
        options = ["train:total_iter=3", "logger:print_every=1", "logger:checkpoint_every=1"]
        whole = train("whole", *options, "train:batch_size=4")
        parts = train("parts", *options, "train:batch_size=2", "train:accumulate=2")
        found, expected = (load_torch_file(run.states / "1.state") for run in (parts, whole))
        assert found["bursts"] == expected["bursts"] == 4
        # Adam's running mean is the gradient, but for a factor.
        gradients = [
            torch.cat([entry["exp_avg"].flatten() for entry in state["optimizer"]["state"].values()])
            for state in (found, expected)
        ]
        torch.testing.assert_close(gradients[0], gradients[1], rtol=0, atol=1e-4 * gradients[1].abs().max().item())
        losses = [
            [float(loss) for loss in re.findall(r"[ ]loss ([\d.]+)", (run.folder / "train.log").read_text())]
            for run in (parts, whole)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


class TestPrecision:
    @pytest.mark.parametrize("amp", ["bf16", "fp16"])
    def test_half_precision_learns_as_full_precision_does(self, train, amp) -> None:
        options = ["train:total_iter=3", "logger:print_every=1"]
        found = []
        for precision in ("none", amp):
            run = train(precision, *options, f"train:amp={precision}")
            log = (run.folder / "train.log").read_text()
            assert "skipped" not in log
            found.append([float(loss) for loss in re.findall(r" loss ([\d.]+)", log)])
        assert found[1] != found[0]
        assert found[1] == pytest.approx(found[0], rel=0.03)

    def test_auto_is_what_the_device_is_made_for_and_is_said(self, train) -> None:
        log = (train("auto", "train:total_iter=1", "train:amp=auto").folder / "train.log").read_text()
        best = str(pick_dtype("auto", torch.device("cpu"))).removeprefix("torch.")
        assert f"cpu, {best}, from iteration 0" in log

    def test_the_loss_scale_is_part_of_the_state(self, train) -> None:
        options = ["train:amp=fp16", "logger:checkpoint_every=2"]
        whole = train("whole", *options)
        train("parts", *options, stop=3)
        resumed = train("parts", *options, resume=True)
        assert last_state(whole)["scaler"]["_growth_tracker"] == 6
        assert_same(last_state(resumed), last_state(whole))

    @pytest.mark.slow
    def test_a_compiled_network_learns_the_same(self, train) -> None:
        options = ["train:total_iter=2", "logger:print_every=1"]
        found = []
        for flag in ("false", "true"):
            run = train(f"compile_{flag}", *options, f"train:compile={flag}")
            log = (run.folder / "train.log").read_text()
            found.append([float(loss) for loss in re.findall(r" linear ([\d.]+)", log)])
        plain, compiled = found
        assert compiled[0] == pytest.approx(plain[0], rel=1e-4)
        # Adam makes a step of full length out of a gradient near 0, whose sign depends on rounding.
        assert compiled[1] == pytest.approx(plain[1], rel=0.05)
        assert plain[1] != pytest.approx(plain[0], rel=0.3)  # it did learn something


class TestRates:
    def test_deformable_layers_may_have_a_rate_of_their_own(self, train, tiny_checkpoint) -> None:
        options = ["train:optimizer:deform_lr=0", "train:total_iter=2", "logger:checkpoint_every=1"]
        options += [f"path:pretrained={tiny_checkpoint}"]  # whose offsets are not 0
        run = train("tiny", *options)
        states = [load_torch_file(run.states / f"{iteration}.state")["model"] for iteration in (1, 2)]
        for name, tensor in states[0].items():
            if name != "features.layers.6.bias":
                assert torch.equal(tensor, states[1][name]) == (".deform." in name), name

    def test_warmup(self, train) -> None:
        run = train("tiny", "train:total_iter=3", "train:scheduler:warmup=9", "logger:print_every=1")
        log = (run.folder / "train.log").read_text()
        # After each step the rate of the next one is shown: two, three and four tenths of a falling cosine.
        assert [float(rate) for rate in re.findall(r"lr ([\d.e-]+)", log)] == pytest.approx(
            [2e-4 * 0.854, 3e-4 * 0.5, 4e-4 * 0.147], rel=0.01
        )


class TestGuard:
    def test_ten_steps_in_a_row_without_a_finite_loss_stop_the_run(self, train, tmp_path) -> None:
        def prepare(trainer: Trainer) -> None:
            def damage(restorer, arguments, output):
                return (output[0] * torch.nan, output[1]) if trainer.progress.iteration >= 3 else output

            trainer.restorer.register_forward_hook(damage)

        message = message_of(train, "tiny", "train:total_iter=30", prepare=prepare)
        folder = tmp_path / "experiments" / "tiny" / "bad_bursts" / "13_rank0"
        assert message.startswith("iteration 13: 10 consecutive non-finite steps; stopping")
        assert message.endswith(str(folder))
        assert {path.name for path in folder.iterdir()} == {"batch0.pt", "batch0_burst0.png", "batch0_burst1.png"}
        saved = load_torch_file(folder / "batch0.pt")
        burst = degrade(saved["frames"], saved["seeds"])
        assert torch.equal(burst.lq, saved["lq"])
        assert not math.isfinite(saved["loss"])
        shown = cv2.imread(str(folder / "batch0_burst1.png"))[..., ::-1]
        assert (shown == saved["frames"][1, 1].permute(1, 2, 0).numpy()).all()
        # Nothing of these steps has reached the weights: the last checkpoint, of iteration 12, goes on.
        resumed = train("tiny", "train:total_iter=14", resume=True)
        assert last_state(resumed)["skipped"] == 9
        assert last_state(resumed)["skipped_in_a_row"] == 0

    def test_a_validation_that_is_not_a_number_stops_the_run(self, train, tmp_path) -> None:
        def prepare(trainer: Trainer) -> None:
            network = trainer.step.average.module.network
            network.register_forward_hook(lambda network, arguments, output: output * torch.nan)

        message = message_of(train, "tiny", "val:every=1", prepare=prepare)
        assert message == "iteration 1: the validation PSNR is not a number; stopping"
        assert not (tmp_path / "experiments" / "tiny" / "models" / "net_best.safetensors").exists()

    def test_large_offsets_are_warned_of(self, train, make_restorer, tmp_path) -> None:
        restorer = make_restorer()
        torch.nn.init.constant_(restorer.network.alignment.level2.deform.predictor.bias, 5.0)
        save_weights(tmp_path / "wild.safetensors", restorer.state_dict(), {})
        run = train("tiny", "train:total_iter=2", f"path:pretrained={tmp_path}/wild.safetensors")
        log = (run.folder / "train.log").read_text()
        (warning,) = re.findall(r"WARNING: iteration 2: (.*): the mean offset is (\d) pixels", log)
        assert warning == ("alignment.level2.deform", "5")


class TestSignals:
    @pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
    def test_the_run_saves_and_returns(self, train, whole, name) -> None:
        def send(trainer: Trainer, report: StepReport) -> None:
            if trainer.progress.iteration == 3:
                signal.raise_signal(signal.Signals[name])

        before = signal.getsignal(signal.Signals[name])
        run = train("stopped", "val:every=3", hooks=[Watch(send)])  # the stop comes before this validation
        assert signal.getsignal(signal.Signals[name]) == before
        assert run.saved_iterations() == [3, 2]
        assert f"iteration 3: saved and stopped by {name}" in (run.folder / "train.log").read_text()
        assert "validation" not in (run.folder / "train.log").read_text()
        resumed = train("stopped", "val:every=3", resume=True)
        assert "iteration 3: validation" in (run.folder / "train.log").read_text()
        assert_same_end(resumed, whole)

    def test_a_stop_in_validation_cuts_it_short(self, train) -> None:
        def prepare(trainer: Trainer) -> None:
            trainer.step.average.module.features.register_forward_pre_hook(
                lambda *_: signal.raise_signal(signal.SIGTERM)
            )

        run = train("stopped", "val:every=1", "datasets:val:length=2", prepare=prepare)
        assert run.saved_iterations() == [1]
        assert last_state(run)["validated"] == 0


class TestTwoRunsOfOneName:
    def test_the_second_one_is_refused_and_the_first_one_undisturbed(self, train, whole) -> None:
        messages = []

        def start_another(trainer: Trainer, report: StepReport) -> None:
            if trainer.progress.iteration in (1, 5):
                messages.append(message_of(train, "twice", resume=trainer.progress.iteration == 5))

        run = train("twice", "val:every=3", hooks=[Watch(start_another)])
        assert [message.partition(" in use by ")[0] for message in messages] == [f"{run.folder}:"] * 2
        assert f"process {os.getpid()}, since " in messages[0]
        assert_same_end(run, whole)
        assert not list(run.folder.parent.glob("*_archived_*"))


def test_nothing_is_written_before_the_run(tiny_experiment) -> None:
    build_trainer(load_options(tiny_experiment), resume=True)
    assert list(tiny_experiment.parent.iterdir()) == [tiny_experiment]


class TestMistakes:
    def test_photographs_for_validation_among_those_for_training(self, train, tmp_path) -> None:
        message = message_of(train, "tiny", "datasets:train:exclude=[chelsea]")
        assert message.startswith("datasets.val: coffee.png of ")
        assert "are in the training set" in message
        # Also as copies under other names.
        (tmp_path / "pictures").mkdir()
        write_picture(tmp_path / "pictures" / "1.png", bundled_picture("coffee"))
        message = message_of(train, "tiny", f"datasets:train:source={tmp_path}/pictures")
        assert message.startswith("datasets.val: coffee.png of ")
        assert not (tmp_path / "experiments").exists()

    def test_validation_clips_among_the_training_clips(self, train, tmp_path) -> None:
        for clip in ("000", "001"):
            (tmp_path / "clips" / clip).mkdir(parents=True)
            for frame in range(3):
                pixels = np.full((48, 48, 3), 40 * frame + int(clip), np.uint8)
                write_picture(tmp_path / "clips" / clip / f"{frame:08d}.png", pixels)
        node = f"type: REDS, source: {tmp_path}/clips, frames: 3, size: 48"
        last = f"datasets:val={{{node}, clips: ['001'], augment: false}}"
        message = message_of(train, "tiny", f"datasets:train={{{node}, exclude: []}}", last)
        assert message.startswith(f"datasets.val: 001 of {tmp_path}/clips are in the training set ")
        train("tiny", f"datasets:train={{{node}, exclude: ['001']}}", last, "train:total_iter=1")

    def test_compilation_without_a_compiler(self, train, monkeypatch, tmp_path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert message_of(train, "tiny", "train:compile=true").startswith("train.compile: found no C++ compiler")
        assert not (tmp_path / "experiments").exists()

    def test_a_loss_that_ends_before_the_run_does(self, train) -> None:
        expected = "train.losses: no term counts up to train.total_iter; add one"
        assert message_of(train, "tiny", "train:losses=[{type: MatchSupervision, until: 5}]") == expected

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("datasets:train:size=40", "datasets.train.size: found 40, expected at least 48 RGB pixels: twice "),
            ("datasets:train:size=[56, 40]", "datasets.train.size: found 40, expected at least 48 RGB pixels: twice "),
            ("datasets:train:size=50", "datasets.train.size: found 50x50, expected multiples of 8 RGB pixels"),
            (
                "train:losses=[{type: Interpolation, space: linear, until: 5}]",
                "train.losses: no term counts up to train.total_iter",
            ),
        ],
    )
    def test_options_that_do_not_fit_together(self, train, tmp_path, override, message) -> None:
        assert message_of(train, "tiny", override).startswith(message)
        assert not (tmp_path / "experiments").exists()

    def test_pretrained_weights_of_another_width(self, train, tmp_path, make_restorer) -> None:
        path = tmp_path / "wide.safetensors"
        save_weights(path, make_restorer(nf=16).state_dict(), {})
        message = message_of(train, "tiny", f"path:pretrained={path}")
        assert message.startswith(f"{path}: does not fit TwoStageRestorer: ")
        assert not (tmp_path / "experiments").exists()

    def test_a_failed_start_leaves_the_older_run_in_its_place(self, train, tmp_path) -> None:
        run = train("tiny", "train:total_iter=1")
        message_of(train, "tiny", f"path:pretrained={tmp_path}/none.pth")
        assert [path.name for path in (tmp_path / "experiments").iterdir()] == ["tiny"]
        assert last_state(run)["iteration"] == 1

    def test_nothing_is_left_on_the_logger(self, train) -> None:
        train("tiny", "train:total_iter=1")
        logger = logging.getLogger("twostagealign")
        assert logger.handlers == []
