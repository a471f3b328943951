from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from twostagealign.options import TrainOptions, dump_options, load_options
from twostagealign.runtime.errors import UserError
from twostagealign.runtime.files import SHIPPED

HOSTILE = Path(__file__).parents[1] / "data" / "hostile"

EXPERIMENT = """
name: small
network: {type: TwoStageNet, nf: 16}
features: {type: LowResolutionFeatures}
datasets:
  train: {type: StillsInMotion, source: skimage, scale_range: [0.5, 1]}
  val: {type: StillsInMotion, source: skimage, length: 4}
train:
  total_iter: 600
  scheduler: {periods: [300, 300], restart_weights: [1, 1], eta_min: 1e-7}
val: {every: 100}
logger: {checkpoint_every: 100}
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "small.yml"
    path.write_text(EXPERIMENT)
    return path


def message_of(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_options(path, overrides)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_values_and_defaults(experiment: Path) -> None:
    options = load_options(experiment)
    assert options.train.scheduler.eta_min == 1e-7
    assert options.train.optimizer.betas == (0.9, 0.99)
    paper = ["Charbonnier", "Interpolation", "Charbonnier", "Interpolation", "MatchSupervision", "OneHot"]
    assert [term.type for term in options.train.losses] == paper
    assert (options.matching.search_window, options.val.search_window) == (64, 48)
    assert options.network.node() == {"type": "TwoStageNet", "nf": 16}


def test_section_given_in_part_keeps_the_other_defaults(experiment: Path) -> None:
    optimizer = load_options(experiment, ["train:optimizer={lr: 2e-4}"]).train.optimizer
    assert (optimizer.lr, optimizer.features_lr, optimizer.betas) == (2e-4, 1e-5, (0.9, 0.99))


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train:total_itr=5", "train.total_itr: unknown key, expected one of total_iter, .*'total_iter'?)"),
        ("trian:total_iter=5", "trian: unknown key, expected one of name, .*(did you mean 'train'?)"),
        (
            "train:losses=[{type: OneHot}, {type: MatchSupervision, untl: 2}]",
            "train.losses.1.untl: unknown argument of MatchSupervision, .*(did you mean 'until'?)",
        ),
        ("train:losses=[{type: OneHt}]", "train.losses.0.type: found 'OneHt', expected one of .*'OneHot'?)"),
        (
            "train:losses=[{type: OneHot, weight: 0}]",
            "train.losses.0.weight: found 0, expected a number greater than 0",
        ),
        ("train:losses=[3]", "train.losses.0: found 3, expected {type: Name, argument: value, ...}"),
        ("train:losses=[]", "train.losses: found [], expected at least 1 entries"),
        (
            "train:losses={linear: 1}",
            "train.losses: found a mapping of weights, expected a list of terms, .*former key",
        ),
        ("val:metrics=[psnr, ssmi]", "val.metrics: found 'ssmi', expected one of psnr, ssim, .*(did you mean 'ssim'?)"),
        ("val:metrics=[ssim]", "val.metrics: psnr is missing, by which the best checkpoint is chosen"),
        ("val:metrics=[psnr, psnr]", "val.metrics: found ['psnr', 'psnr'], expected each name once"),
        ("train:total_iter='5'", "train.total_iter: found '5', expected an integer"),
        ("train:total_iter=500.0", "train.total_iter: found 500.0, expected an integer"),
        ("train:total_iter=true", "train.total_iter: found True, expected an integer"),
        ("train:optimizer:lr=fast", "train.optimizer.lr: found 'fast', expected a number"),
        ("train:optimizer:lr=false", "train.optimizer.lr: found False, expected a number"),
        ("train:optimizer:lr=.inf", "train.optimizer.lr: found inf, expected a finite number"),
        ("train:optimizer:betas=[0.9]", "train.optimizer.betas.1: missing from [0.9]"),
        ("train:optimizer:betas=[0.9, 1.0]", "train.optimizer.betas.1: found 1.0, expected a number less than 1"),
        ("train:optimizer:betas=[0.9, 0, 0]", "train.optimizer.betas: found [0.9, 0, 0], expected at most 2 entries"),
        ("train:batch_size=0", "train.batch_size: found 0, expected at least 1"),
        ("train:batch_size=1000000", "train.batch_size: found 1000000, expected at most 4096"),
        ("train:workers=9999", "train.workers: found 9999, expected at most 256"),
        ("train:patch_size=1099511627776", "train.patch_size: found 1099511627776, expected at most 4096"),
        ("train:total_iter=99999999999", "train.total_iter: found 99999999999, expected at most 1000000000"),
        ("train:optimizer:lr=1e300", "train.optimizer.lr: found 1e+300, expected at most 1000000000000"),
        (
            "seed=18446744073709551616",
            "seed: found 18446744073709551616, expected a number less than 9223372036854775808",
        ),
        ("seed=-1", "seed: found -1, expected at least 0"),
        ("matching:search_window=65536", "matching.search_window: found 65536, expected at most 1024"),
        ("features:channels=0", "features.channels: found 0, expected at least 1"),
        ("features:channels=-4", "features.channels: found -4, expected at least 1"),
        ("features:channels=100000", "features.channels: found 100000, expected at most 512"),
        ("network:nf=1048576", "network.nf: found 1048576, expected at most 512"),
        ("datasets:train:max_shift=1e308", "datasets.train.max_shift: found 1e+308, expected at most 4096"),
        ("datasets:train:scale_range=[1e-9, 1]", "datasets.train.scale_range.0: found 1e-09, expected at least 0.01"),
        (
            "datasets:train:seed=18446744073709551616",
            "datasets.train.seed: found 18446744073709551616, expected",
        ),
        ("datasets:train:frames=100000", "datasets.train.frames: found 100000, expected at most 1000"),
        ("datasets:train:size=1000000", "datasets.train.size: found 1000000, expected "),
        ("datasets:train:cache_mb=99999999", "datasets.train.cache_mb: found 99999999, expected at most 1048576"),
        (
            f"path:experiments_root={'n' * 256}",
            f"path.experiments_root: {'n' * 60}...: a name in this path has",
        ),
        ('path:pretrained="a\\0b"', "path.pretrained: a\\x00b: not a path, since it contains a NUL character"),
        ("train:ema_decay=1.0", "train.ema_decay: found 1.0, expected a number less than 1"),
        ("train:patch_size=62", "train.patch_size: found 62, expected a multiple of 4"),
        ("matching:search_window=60", "matching.search_window: found 60, expected a multiple of 16"),
        ("val:search_window=24", "val.search_window: found 24, expected a multiple of 16"),
        ("val:search_window=0", "val.search_window: found 0, expected at least 16"),
        ("val:noise=hihg", "val.noise: found 'hihg', expected 'high' or 'low' (did you mean 'high'?)"),
        ("device=cud", "device: found 'cud', expected 'auto', 'cpu' or 'cuda' (did you mean 'cuda'?)"),
        ("logger:tensorboard=1", "logger.tensorboard: found 1, expected true or false"),
        ("logger=", "logger: found None, expected a mapping"),
        ("logger={}", "logger.checkpoint_every: missing, expected an integer"),
        ("train:scheduler={}", "train.scheduler.periods: missing, expected a list of entries, each an integer"),
        ("train:scheduler:periods=[]", "train.scheduler.periods: found [], expected at least 1 entries"),
        ("train:scheduler:periods=300", "train.scheduler.periods: found 300, expected a list"),
        ("train:scheduler:restart_weights=[1]", "train.scheduler.restart_weights: found 1 entries, expected 2"),
        ("train:total_iter=601", "train.scheduler: found periods that sum to 600, expected at least train.total_iter"),
        ("name=a/b", "name: found 'a/b', expected letters, digits"),
        ("name=..", "name: found '..', expected letters, digits"),
        ("name=12e3", "name: found 12000.0, expected a string"),
        ("network=TwoStageNet", "network: found 'TwoStageNet', expected {type: Name, argument: value, ...}"),
        ("network={nf: 8}", "network: found {'nf': 8}, expected {type: Name, argument: value, ...}"),
        (
            "network:type=TwoStageNt",
            "network.type: found 'TwoStageNt', expected one of TwoStageNet, SingleFrameNet, GCPNet, EDVR, KPN (did",
        ),
        ("network:type=LowResolutionFeatures", "network.type: found 'LowResolutionFeatures', expected one of TwoStage"),
        ("network:nf='16'", "network.nf: found '16', expected an integer"),
        ("network:fn=16", "network.fn: unknown argument of TwoStageNet, expected one of nf, groups"),
        ("datasets:val={type: StillsInMotion}", "datasets.val.source: missing, expected a string or a path"),
        ("datasets:val:size=[1, 2, 3]", "datasets.val.size: found [1, 2, 3], expected an integer or a list of 2"),
        ("datasets:train:scale_range=[a, 1]", "datasets.train.scale_range.0: found 'a', expected a number"),
    ],
)
def test_problem_is_one_line_with_file_key_found_and_expected(experiment: Path, override: str, expected: str) -> None:
    message = message_of(experiment, override)
    source = f"{experiment} --force_yml {override}: "
    assert message.startswith(source)
    start, _, rest = expected.partition(".*")
    assert message[len(source) :].startswith(start)
    assert message.endswith(rest)


@pytest.mark.parametrize(
    ("sound", "broken", "expected"),
    [
        ("total_iter", "total_itr", "train.total_itr: unknown key, expected one of total_iter, "),
        ("  total_iter: 600\n", "", "train.total_iter: missing, expected an integer"),
        ("nf: 16", "nf: 16.0", "network.nf: found 16.0, expected an integer"),
        ("{every: 100}", "{every: 1, every: 2}", "line 11: the key 'every' appears twice"),
        ("[300, 300]", "[300, 300", "line 10: while parsing a flow sequence, expected ',' or ']'"),
        ("name: small", "name: 'a\n\nb'", "name: found 'a\\nb', expected letters"),
    ],
)
def test_problem_in_the_file_itself(experiment: Path, sound: str, broken: str, expected: str) -> None:
    experiment.write_text(EXPERIMENT.replace(sound, broken))
    assert message_of(experiment).startswith(f"{experiment}: {expected}")


@pytest.mark.parametrize(
    ("content", "found"),
    [(b"", "None"), (b"- a", "['a']"), (b"3", "3"), (b"\xff\xfe\xfa", "not UTF-8"), (b"a: \x00", "")],
)
def test_file_that_holds_no_options(experiment: Path, content: bytes, found: str) -> None:
    experiment.write_bytes(content)
    message = message_of(experiment)
    assert message.startswith(f"{experiment}: ")
    assert found in message


@pytest.mark.parametrize(
    ("name", "problem"), [("alias_bomb", "more than 20000 values"), ("bytes_key", r"the key AQ== is not a string")]
)
def test_hostile_files(name: str, problem: str) -> None:
    path = HOSTILE / f"{name}.yml"
    assert message_of(path).startswith(f"{path}: line ")
    assert problem in message_of(path)


def test_an_option_cannot_be_set_in_place(experiment: Path) -> None:
    options = load_options(experiment)
    for part, name in ((options, "seed"), (options.network, "prefix"), (options.train, "scheduler")):
        with pytest.raises((ValidationError, FrozenInstanceError)):
            setattr(part, name, 0)


@pytest.mark.parametrize("override", ["train", "=3", "train:=3", ":train=3", "train::lr=3", "", "name:x=3", "seed=[1"])
def test_override_that_is_none(experiment: Path, override: str) -> None:
    assert message_of(experiment, override).startswith(f"--force_yml {override}: ")


def test_overrides(experiment: Path) -> None:
    overrides = [
        "train:optimizer:lr=2e-4",
        "train:total_iter=7",
        "network:nf=8",
        "path:pretrained=a=b.pth",
        "train:seed=1",
    ]
    assert "train.seed" in message_of(experiment, *overrides)
    options = load_options(experiment, [*overrides[:-1], "train:total_iter=9", "val:noise=low", "train:grad_clip=~"])
    assert options.train.optimizer.lr == 2e-4
    assert options.train.total_iter == 9
    assert options.network.arguments == {"nf": 8}
    assert options.path.pretrained == "a=b.pth"
    assert options.val.noise == "low"


def test_path_from_the_current_folder_then_from_the_repository(
    experiment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = experiment.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("twostagealign.runtime.files.SHIPPED", experiment.parent)
    monkeypatch.chdir(elsewhere)
    assert load_options(Path("small.yml")).name == "small"
    (elsewhere / "small.yml").write_text(EXPERIMENT.replace("small", "nearer"))
    assert load_options(Path("small.yml")).name == "nearer"


def test_missing_file(experiment: Path) -> None:
    path = experiment.with_name("smal.yml")
    assert message_of(path) == f"{path}: no such file, expected a YAML file (did you mean '{experiment}'?)"
    assert message_of(experiment.parent) == f"{experiment.parent}: is a folder, expected a YAML file"


@pytest.mark.parametrize(
    "path",
    sorted(path for kind in ("train", "ablation") for path in (SHIPPED / "options" / kind).glob("*.yml")),
    ids=lambda path: path.name,
)
def test_the_project_s_own_experiments_load(path: Path) -> None:
    options = load_options(path)
    assert options.name == (f"ablation_{path.stem}" if path.parent.name == "ablation" else path.stem)


def test_a_file_changes_its_base(experiment: Path) -> None:
    above = experiment.with_name("above.yml")
    above.write_text(
        f"base: {experiment}\nname: above\nnetwork: {{type: TwoStageNet, groups: 4}}\n"
        "datasets: {train: {source: pictures}}\ntrain: {scheduler: {eta_min: 1}}\n"
    )
    options, below = load_options(above, ["train:total_iter=9"]), load_options(experiment)
    assert options.name == "above"
    assert options.network.arguments == {"groups": 4}  # replaced, since it has a type
    assert options.datasets.train.arguments == below.datasets.train.arguments | {"source": "pictures"}
    assert options.train.scheduler == below.train.scheduler.model_copy(update={"eta_min": 1})
    assert options.train.total_iter == 9
    assert (options.val, options.logger, options.datasets.val) == (below.val, below.logger, below.datasets.val)
    highest = experiment.with_name("highest.yml")
    highest.write_text(f"base: {above}\nname: highest\n")
    assert load_options(highest).network == options.network
    experiment.write_text(EXPERIMENT.replace("every: 100", "every: 0"))
    assert message_of(highest).startswith(f"{highest} (base: {above} (base: {experiment})): val.every: found 0")


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("3", "{above}: base: found 3, expected the path of a YAML file"),
        ("nowhere.yml", "nowhere.yml: no such file, expected a YAML file"),
        ("{above}", "{above}: circular `base`"),
    ],
)
def test_a_base_that_is_none(experiment: Path, base: str, expected: str) -> None:
    above = experiment.with_name("above.yml")
    above.write_text(f"base: {base.format(above=above)}\nname: above\n")
    assert message_of(above) == expected.format(above=above)


@settings(deadline=None, max_examples=30)
@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,11}", fullmatch=True),
    rate=st.floats(min_value=1e-300, max_value=1e12),
    pretrained=st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=60),
    until=st.none() | st.integers(min_value=0, max_value=10**9),
)
def test_dump_then_load_gives_the_same(
    tmp_path_factory: pytest.TempPathFactory, name: str, rate: float, pretrained: str | None, until: int | None
) -> None:
    folder = tmp_path_factory.mktemp("round")
    path = folder / "experiment.yml"
    path.write_text(EXPERIMENT)
    values = load_options(path).model_dump()
    values |= {"name": name, "path": {"pretrained": pretrained}}
    values["train"]["optimizer"]["lr"] = rate
    values["train"]["losses"] = [{"type": "MatchSupervision", "until": until}]
    options = TrainOptions.model_validate(values)
    path.write_text(dump_options(options), encoding="utf-8")
    assert load_options(path) == options


def test_a_long_override_is_quoted_in_part(experiment: Path) -> None:
    for override in ("seed=" + "9" * 4000, "nowhere:" + "x" * 4000, "seed=[" + "1, " * 4000):
        assert len(message_of(experiment, override)) < 1000
