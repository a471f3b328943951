"""Kinds of input: option files and command lines."""

import random
from itertools import pairwise
from typing import Any

from fuzzing.bench import EVALUATE, Attempt, Bench, restore
from fuzzing.mutators import (
    TEXTS,
    VALUES,
    draw_yaml,
    dump_raw_yaml,
    mutate_yaml,
    replace_file,
)
from fuzzing.samples import EVALUATION, TRAINING


def _overrides(rng: random.Random, tree: dict[str, Any]) -> list[str]:
    """Some `key:key=value` of --force_yml."""
    texts = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        keys: list[str] = []
        node: Any = tree
        while isinstance(node, dict) and node and (not keys or rng.random() < 0.9):
            keys.append(rng.choice(list(node)))
            node = node[keys[-1]]
        if rng.random() < 0.2:
            keys[rng.randrange(len(keys))] = rng.choice((*TEXTS, "type", "base", ":", "="))
        value = dump_raw_yaml({"v": draw_yaml(rng)}).removeprefix("v:").strip()
        texts.append(":".join(keys) + rng.choice(("=", "=", "=", "=", "")) + value)
    return [text for text in texts if "\0" not in text]


def training_options(bench: Bench) -> Attempt:
    """The option file of a training."""
    bench.bring("stills", "other_stills")
    (bench.folder / "train.yml").write_bytes(mutate_yaml(bench.rng, TRAINING))
    if bench.rng.random() < 0.02:
        replace_file(bench.rng, bench.folder / "train.yml")
    return _train(bench, [])


def training_overrides(bench: Bench) -> Attempt:
    """--force_yml of a training."""
    bench.bring("stills", "other_stills", "train.yml")
    return _train(bench, _overrides(bench.rng, TRAINING))


def _train(bench: Bench, overrides: list[str], *flags: str) -> Attempt:
    # The defaults, which damage may bring back, are another folder and a large validation set.
    (bench.folder / "experiments").mkdir()
    overrides = [*overrides, "datasets:val:length=1"]
    return Attempt("codes/train.py", ["-opt", "train.yml", *flags, "--force_yml", *overrides])


def evaluation_options(bench: Bench) -> Attempt:
    """The option file of an evaluation."""
    bench.bring("clips", "small.safetensors")
    (bench.folder / "test.yml").write_bytes(mutate_yaml(bench.rng, EVALUATION))
    return Attempt("codes/test_REDS4.py", [*EVALUATE, "--limit", "1"])


def evaluation_overrides(bench: Bench) -> Attempt:
    """--force_yml of an evaluation."""
    bench.bring("clips", "small.safetensors", "test.yml")
    forced = _overrides(bench.rng, EVALUATION)
    return Attempt("codes/test_REDS4.py", [*EVALUATE, "--limit", "1", "--force_yml", *forced])


def command_lines(bench: Bench) -> Attempt:
    """Arguments of restore.py and of the test scripts."""
    rng = bench.rng
    bench.bring("burst", "clips", "small.safetensors", "test.yml")
    attempt = rng.choice((restore("burst"), restore("clips/x", "--simulate", "low")))
    flags = [
        "--frames",
        "--reference",
        "--batch",
        "--group",
        "--overlap",
        "--simulate",
        "--dtype",
        "--features-checkpoint",
    ]
    if rng.random() < 0.3:
        attempt = Attempt("codes/test_REDS4.py", [*EVALUATE, "--limit", "1"])
        flags = [
            "--noise",
            "--clips",
            "--batch",
            "--overlap",
            "--save-images",
            "--name",
            "--workers",
            "--dtype",
            "--data",
        ]
    for flag in rng.sample(flags, rng.choice((0, 1, 2))):
        attempt.arguments += [flag, "1"]
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(attempt.arguments))
        value = str(rng.choice(VALUES))
        attempt.arguments[at] = rng.choice(attempt.arguments) if rng.random() < 0.2 else value.replace("\0", "")
    for before, at in pairwise(range(len(attempt.arguments))):
        if attempt.arguments[before] in ("--output", "--results") and attempt.arguments[at].startswith(("..", "/")):
            attempt.arguments[at] = "x"  # who asks for an output elsewhere gets it
    return attempt


def resumed_training(bench: Bench) -> Attempt:
    """A training that goes on with other options."""
    bench.bring("runs", "train.yml", "stills", "other_stills")
    forced = [text for text in _overrides(bench.rng, TRAINING) if not text.startswith("name")]
    return _train(bench, ["train:total_iter=2", *forced], "--auto_resume")
