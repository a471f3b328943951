"""Every suite runs on something small, and says pass and FAIL rightly."""

import json
import math
import runpy
import sys
from pathlib import Path

import pytest
import torch

from twostagealign.data import PROTOCOL_NOISE
from twostagealign.data.burst import Burst, RawFrame
from twostagealign.isp import protocol_camera
from twostagealign.matching import Search, hard_match
from twostagealign.models import TwoStageRestorer
from twostagealign.models.complexity import count_flops
from twostagealign.restoration.frame import restore_frame
from twostagealign.restoration.tiling import FAST, Tiling
from twostagealign.studies import benchmarks
from twostagealign.studies.ablation.scenes import AblationScene
from twostagealign.studies.benchmarks import data, frame, growth, memory, operations
from twostagealign.studies.benchmarks.measurement import Measurement, race

SCRIPTS = Path(__file__).parents[2] / "scripts"
SMALL = Tiling(patch=8, halo=4)
TILINGS = {"small": SMALL, "large": Tiling(patch=16, halo=4)}


@pytest.mark.parametrize(
    ("bars", "passes", "verdict"),
    [
        ({}, True, "x"),
        ({"at_least": 2}, True, ">= 2 pass"),
        ({"at_least": 2.1}, False, ">= 2.1 FAIL"),
        ({"at_most": 2}, True, "<= 2 pass"),
        ({"at_most": 1.9}, False, "<= 1.9 FAIL"),
    ],
)
def test_verdict(bars, passes, verdict) -> None:
    measurement = Measurement("speed", 2.0, "x", **bars)
    assert measurement.passes == passes
    assert str(measurement).startswith("speed ")
    assert " ".join(str(measurement).split()).endswith(verdict)


def test_what_is_not_a_number_passes_no_bar() -> None:
    assert not Measurement("speed", math.nan, "x", at_least=1).passes


def test_candidates_run_in_turn(monkeypatch) -> None:
    calls, clock = [], iter(range(0, 1000))
    monkeypatch.setattr("time.perf_counter", lambda: 0.5 * next(clock))
    times = race(lambda: calls.append("a"), lambda: calls.append("b") or next(clock), runs=3)
    assert "".join(calls) == "ab" * 4  # the first time does not count
    assert times == [0.5, 1.0]


def test_what_takes_long_is_not_warmed_up(monkeypatch) -> None:
    calls, clock = [], iter(range(0, 1000))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    times = race(lambda: calls.append("a"), lambda: calls.append("b") or next(clock), runs=3)
    assert "".join(calls) == "ab" * 3 + "a"  # b takes two seconds, and counts from the start
    assert times == [1, 2]


def test_the_least_time_counts(monkeypatch) -> None:
    now, durations = [0.0], iter([0.1, 0.9, 0.3, 0.7])  # the first is a warm-up
    monkeypatch.setattr("time.perf_counter", lambda: now[0])

    def work() -> None:
        now[0] += next(durations)

    assert race(work, runs=3) == [pytest.approx(0.3)]


def measured(suite) -> dict[str, Measurement]:
    return {measurement.name: measurement for measurement in suite}


def test_dcn() -> None:
    results = measured(benchmarks.benchmark_dcn([((1, 8, 6, 6), 0.0)]))
    assert [(name, result.unit) for name, result in results.items()] == [
        ("forward 1x8x6x6, torchvision / ours", "x"),
        ("backward 1x8x6x6, torchvision / ours", "x"),
    ]
    assert all(result.value > 0 for result in results.values())


def test_network(make_restorer) -> None:
    network = make_restorer().network
    seen = []

    def direct(weights):
        assert weights.keys() == network.state_dict().keys()
        return lambda lq, noise_map: seen.append((lq.shape, noise_map.shape))

    results = measured(benchmarks.benchmark_network(direct, network, batches=(2,), side=8))
    assert set(seen) == {((2, 5, 4, 8, 8), (2, 5, 4, 8, 8))}
    assert len(results) == 4
    time, rate, share = (
        results[f"nf 8, 2 x 5 x 8 x 8, {what}"].value
        for what in ("time", "rate of convolution alone", "needed FLOPs at that rate / time")
    )
    assert share / 100 * time * rate * 1e9 == pytest.approx(2 * count_flops(network, 5, 8))


def test_matching() -> None:
    def direct(maps, origins, size, radius):
        assert (maps.shape, len(origins), size, radius) == ((5, 16, 6, 8), 6, 4, 2)
        return hard_match(maps[None], origins[None], size, radius)

    results = measured(benchmarks.benchmark_matching(direct, [("small", (16, 24), SMALL, Search(16), 0.0)]))
    assert list(results) == [
        *("small, 6 patches, time", "small, 6 patches, direct / ours"),
        "small, 6 patches, time if nothing matches",
    ]


def test_frame_compares_equal_work(make_restorer) -> None:
    def direct(restorer, lq, noise_map, error=0.0):
        frames = [RawFrame(*planes) for planes in zip(lq, noise_map, strict=True)]
        return restore_frame(restorer, Burst(frames, protocol_camera()), SMALL).image + error

    for error, passes in ((0, True), (1, False)):
        suite = frame.compare_frame(
            "small", make_restorer(), lambda *burst, error=error: direct(*burst, error), (12, 16), 1, SMALL, SMALL
        )
        results = measured(suite)
        assert results["small, largest difference / largest value"].passes == passes
        assert results["small, direct / ours"].value > 0
        assert results["small, direct / ours with --fast"].value > 0


def test_frame_compares_dtypes(make_restorer) -> None:
    results = measured(frame.compare_dtypes("small", make_restorer(), (12, 16), 1, 1e9))
    assert results["small, bfloat16, time"].value > 0
    assert not results["small, float32 / bfloat16"].passes


def test_script_restores_the_shipped_checkpoint_alike_both_ways(monkeypatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    directly = runpy.run_path(str(SCRIPTS / "benchmark.py"), run_name="benchmark")["restore_frame_directly"]
    restorer = benchmarks.subjects.tiny_restorer(parts_of_paper=True)
    suite = frame.compare_frame("small", restorer, directly, (32, 48), 1)
    assert measured(suite)["small, largest difference / largest value"].passes


def test_growth_fits_exponents_and_draws(tmp_path) -> None:
    results = measured(growth.benchmark_growth(tmp_path / "plots", [(8, 8), (8, 16)], [1, 2], (16, 16), TILINGS))
    assert "nf 16, exponent of time over pixels" in results
    for settings in TILINGS:
        shares = [result.value for name, result in results.items() if name.startswith(f"nf 16, {settings}, share of ")]
        assert len(shares) == 3
        assert sum(shares) == pytest.approx(100)
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["growth.png", "stages.png"]


def test_raw_burst_by_stage() -> None:
    results = measured(benchmarks.benchmark_raw(False, {0: (96, 128, 0.01), 50: (10**6, 10**6, 0)}, least_share=101))
    shares = {name.split()[-1]: result for name, result in results.items() if "share of" in name}
    assert list(shares) == ["examining", "loading", "reading", "matching", "network", "rendering", "writing"]
    assert shares["network"].value > 0
    assert sum(result.value for result in shares.values()) < 100  # the program also starts
    missed = [name for name, result in results.items() if not result.passes]
    assert [name.partition("megapixels, ")[2] for name in missed] == ["share of network", "peak"]
    assert all(name.startswith(("nf 16, float32, 5 x 0 ", "nf 16, bfloat16, 5 x 0 ")) for name in results)


class LostInBfloat16:
    """A restorer that gives a darker picture of few levels in bfloat16."""

    def __init__(self) -> None:
        self.full = benchmarks.subjects.tiny_restorer()

    def compute_in(self, dtype: torch.dtype) -> TwoStageRestorer:
        if dtype == torch.float32:
            return self.full
        lossy = benchmarks.subjects.tiny_restorer()
        forward = lossy.network.forward
        lossy.network.forward = lambda *args: (0.9 * forward(*args)).mul(1000).round().div(1000)
        return lossy


@pytest.mark.parametrize("lossy", [False, True])
def test_precision_of_bfloat16(lossy: bool) -> None:
    rows = torch.arange(128) * 2  # a ramp with all levels, and a texture
    frames = (rows[:, None] + 20 * (torch.arange(128) % 5))[None].clamp(0, 255).byte().expand(5, 3, -1, -1)
    scene = AblationScene("synthetic", "ramp", None, lambda: frames)
    restorer = LostInBfloat16() if lossy else None
    results = measured(benchmarks.benchmark_precision(scene, [PROTOCOL_NOISE["low"]], restorer))
    missed = [name.rpartition(", bfloat16, ")[2] for name, result in results.items() if not result.passes]
    if lossy:
        assert missed == ["loss of PSNR", "pixels within 1 level of 255", "levels of 16 bits, linear"]
    else:
        assert missed == []
    assert len(results) == 3
    assert all(type(result.passes) is bool for result in results.values())  # --json writes it


@pytest.mark.slow
def test_busy() -> None:
    *_, ratio = benchmarks.benchmark_busy(32, 48, others=1, runs=1, most=0)
    assert ratio.value > 0.5
    assert not ratio.passes


def test_memory_needs_what_is_held_at_least(monkeypatch) -> None:
    """In this process: only that the path is the whole one and few tiles pass the network."""
    seen = []
    restorer = memory.wide_restorer(Search(16))
    network = restorer.network.forward
    monkeypatch.setattr(restorer.network, "forward", lambda *args: seen.append(args[0].shape) or network(*args))
    monkeypatch.setattr(memory, "wide_restorer", lambda search: restorer)
    monkeypatch.setattr(memory, "TILING", SMALL)
    assert memory.peak_of_restoration(24, 16) > 1e8
    assert seen == [(2, 5, 4, 16, 16)]


@pytest.mark.slow
def test_memory_of_two_sizes() -> None:
    results = measured(benchmarks.benchmark_memory((64, 64), runs=1))
    assert results["nf 64, 5 x 64 x 64, peak"].value > 0.1
    assert len(results) == 4


@pytest.mark.slow
def test_clip() -> None:
    results = measured(benchmarks.benchmark_clip(3, 32, 48, [0, 2]))
    values = {name.partition("3 frames of 32x48, ")[2]: result.value for name, result in results.items()}
    assert values["pictures that are equal"] == 100
    assert values["time of a frame"] > 0
    assert len(values) == 4


def test_training_seconds(tiny_experiment, monkeypatch) -> None:
    waited, worked = data.training_seconds(tiny_experiment, steps=3, warm_up=1)
    assert 0 < waited < 10
    assert 0 < worked < 60
    assert not (tiny_experiment.parent / "experiments").exists()  # nothing of it is kept


@pytest.fixture
def script(monkeypatch, capfd):
    """Runs scripts/benchmark.py with two suites of known numbers; exit code, stdout, stderr."""
    monkeypatch.syspath_prepend(SCRIPTS)
    numbers = {"dcn": Measurement("slow", 1.0, "x", at_least=2), "data": Measurement("free", 0.5, "GB")}
    for name, number in numbers.items():
        monkeypatch.setattr(benchmarks, f"benchmark_{name}", lambda *_, number=number: iter([number]))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPTS / "benchmark.py"), run_name="__main__")
        return end.value.code or 0, *capfd.readouterr()

    return call


def test_script(script, tmp_path) -> None:
    code, out, _ = script("dcn", "data", "--json", tmp_path / "results" / "out.json")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    heads = [f"{suite} (float32, unless a name says otherwise)" for suite in ("dcn", "data")]
    dcn, data = "slow 1.00 x >= 2 FAIL", "free 0.50 GB"
    time = "measured in 0 s"
    assert lines == [heads[0], dcn, time, heads[1], data, time, "1 bars are missed"]
    written = json.loads((tmp_path / "results" / "out.json").read_text())
    assert written["environment"]["cores"] >= 1
    bars = {"at_least": 2, "at_most": None}
    assert written["results"][0] == {"suite": "dcn", "name": "slow", "value": 1, "unit": "x", **bars, "passes": False}
    assert written["results"][1]["passes"]


@pytest.mark.parametrize(("option", "place"), [("--json", "file/out"), ("--json", "folder"), ("--plots", "file/out")])
def test_script_refuses_an_output_that_cannot_be_written(script, tmp_path, option, place) -> None:
    """Before anything is measured."""
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    code, out, err = script("dcn", option, tmp_path / place)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {tmp_path}/f")
    assert err.count("\n") == 1


def test_script_refuses_an_unknown_suite(script) -> None:
    code, _, err = script("dnc")
    assert code == 2
    assert "SUITE: unknown suite 'dnc'; choose from dcn, network, matching" in err


def test_fast_differs_from_the_protocol_in_its_tiles_alone() -> None:
    assert FAST.patch * FAST.group > Tiling().patch


@torch.inference_mode()
def test_moving_features_move() -> None:
    maps = benchmarks.subjects.moving_features(40, 44)
    assert maps.shape == benchmarks.subjects.random_features(40, 44).shape == (5, 16, 40, 44)
    positions = 4 * hard_match(maps[None], torch.tensor([[[12, 12]]]), 16, 6)[0, 0]
    expected = torch.tensor([[2 - k, 2 - k] for k in range(5)]) * torch.tensor([20, 17]) + 48
    assert (positions - expected).abs().max() <= 4


def test_the_subjects_are_what_they_are_called() -> None:
    restorer = benchmarks.subjects.wide_restorer()
    assert sum(p.numel() for p in restorer.network.parameters()) == 12_052_144
    with torch.inference_mode():
        assert restorer.network(torch.rand(1, 3, 4, 8, 8), torch.rand(1, 3, 4, 8, 8)).isfinite().all()


def test_operations_by_kind() -> None:
    x = torch.rand(1, 4, 10, 12)
    halve, double = torch.nn.Conv2d(4, 6, 3, stride=2, padding=1), torch.nn.ConvTranspose2d(6, 2, 2, stride=2)
    with torch.no_grad():
        times = operations.operation_times(lambda: double(halve(x)).tanh_(), runs=2)
    convolutions = {"convolution 3x3, 4 to 6, stride 2": 6 * 4 * 9, "transposed convolution 2x2, 6 to 2, stride 2": 48}
    assert set(times) == {*convolutions, "tanh_"}
    for kind, products in convolutions.items():  # per pixel of 5 x 6
        assert (times[kind].calls, times[kind].flops) == (1, 2 * products * 5 * 6)
    assert times["tanh_"].flops == 0
    seconds = [entry.seconds for entry in times.values()]
    assert seconds == sorted(seconds, reverse=True)
    assert min(seconds) > 0


def test_operations_of_small_shares_are_put_together() -> None:
    times = {"convolution": operations.OperationTime(2, 0.5, 10**9)}
    times |= {name: operations.OperationTime(1, 0.002) for name in ("add", "tanh")}
    *_, large, small = operations.operation_table(times).splitlines()
    assert large == "| convolution | 2 | 500.0 | 99.2 % | 2 |"
    assert small == "| others | 2 | 4.0 | 0.8 % |  |"
