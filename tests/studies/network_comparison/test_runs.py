import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from twostagealign.models.checkpoint import find_checkpoint
from twostagealign.options import load_options
from twostagealign.studies.network_comparison.costs import measure_cost
from twostagealign.studies.network_comparison.runs import NETWORKS, OPTIONS, SEEDS, Run

SCRIPT = Path(__file__).parents[3] / "scripts" / "compare_networks.py"


def test_all_networks_see_the_same_bursts_and_the_same_schedule() -> None:
    options = {name: load_options(OPTIONS / f"{name}.yml") for name in NETWORKS}
    assert len({each.network.type for each in options.values()}) == len(NETWORKS)
    shared = {
        json.dumps([each.datasets.train.node(), each.train.model_dump(), each.val.model_dump()])
        for each in options.values()
    }
    assert len(shared) == 1
    assert {name for name, each in options.items() if each.matching.search_window} == {"two_stage"}
    assert all(each.train.total_iter >= 1600 for each in options.values())


def test_runs_do_not_share_weights() -> None:
    files = {Run(network, seed).weights for network in NETWORKS for seed in SEEDS}
    assert len(files) == len(NETWORKS) * len(SEEDS)
    assert Run("kpn", 1).name == "KPN, seed 1"


def test_cost_of_a_checkpoint() -> None:
    threads = torch.get_num_threads()
    cost, larger = (measure_cost(find_checkpoint("tiny"), (64, width)) for width in (64, 128))
    assert torch.get_num_threads() == threads
    assert cost.parameters == 843_784  # as its card says
    assert cost.network["nf"] == 16
    assert larger.gflop == pytest.approx(2 * cost.gflop, abs=0.2)
    assert 0 < cost.seconds < larger.seconds


def test_mistakes_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, problem in (
        (["--train"], "--train: needs a folder of pictures to train on; pass --data FOLDER"),
        (["--reds", "nowhere"], "nowhere: no such folder, expected a folder of pictures"),
        (["--seeds", "7"], "--seeds: invalid choice: 7 (choose from 0, 1)"),
    ):
        monkeypatch.setattr(sys, "argv", ["compare_networks.py", *arguments])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        assert end.value.code == 2
        assert capsys.readouterr().err == f"error: {problem}\n"
