"""Trainings of the networks beside TwoStageNet."""

import pytest

from twostagealign.options import load_options
from twostagealign.runtime.errors import UserError
from twostagealign.training.build import build_trainer

PER_FRAME = "train:losses=[{type: Charbonnier, space: linear}, {type: PerFrame, space: srgb}]"
QUICK = ["train:total_iter=2", "logger:checkpoint_every=2", "matching:search_window=null", "train:batch_size=1"]


@pytest.mark.parametrize(
    "options",
    [
        ["network={type: GCPNet, nf: 8, groups: 4, frames: 3}"],
        ["network={type: EDVR, nf: 8, groups: 4, frames: 3}", "matching:search_window=16"],
        ["network={type: KPN, nf: 8, frames: 3, per_frame: true}", PER_FRAME],
    ],
)
def test_a_short_training(tiny_experiment, options: list[str]) -> None:
    trainer = build_trainer(load_options(tiny_experiment, [*QUICK, *options]))
    before = [parameter.clone() for parameter in trainer.restorer.network.parameters()]
    trainer.run()
    after = list(trainer.restorer.network.parameters())
    assert all(parameter.isfinite().all() for parameter in after)
    assert any((parameter != old).any() for parameter, old in zip(after, before, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["network={type: GCPNet, nf: 8, groups: 4}"],
            "this GCPNet was made for bursts of 5 frames, not 3; use 5 frames",
        ),
        (
            ["network={type: KPN, nf: 8, frames: 3, per_frame: true}"],
            "network.per_frame: needs a term PerFrame in train.losses",
        ),
        (
            ["network={type: KPN, nf: 8, frames: 3}", PER_FRAME],
            "train.losses: PerFrame needs a network with per_frame: true (KPN); remove the term",
        ),
    ],
)
def test_options_that_do_not_fit_the_network(tiny_experiment, options: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        build_trainer(load_options(tiny_experiment, [*QUICK, *options]))
    assert str(caught.value) == message
