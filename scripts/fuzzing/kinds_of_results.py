"""Kinds of input: weights, training states, evaluations."""

import hashlib
import shutil

from fuzzing.bench import EVALUATE, Attempt, Bench, restore
from fuzzing.containers import mutate_safetensors, mutate_torch
from fuzzing.mutators import (
    mutate_json,
)


def safetensors_files(bench: Bench) -> Attempt:
    """Weights as safetensors."""
    bench.bring("burst", "tiny.safetensors")
    refuse = []

    def mutate(data: bytes) -> bytes:
        changed, bad = mutate_safetensors(bench.rng, data)
        refuse.append(bad)
        return changed

    bench.damage("tiny.safetensors", mutate)
    attempt = restore("burst", checkpoint="tiny.safetensors")
    attempt.refuse = any(refuse)
    return attempt


def torch_files(bench: Bench) -> Attempt:
    """Weights as .pth."""
    bench.bring("burst", "tiny.pth")
    refuse = mutate_torch(bench.rng, bench.folder / "tiny.pth")
    attempt = restore("burst", checkpoint="tiny.pth")
    attempt.refuse = refuse
    return attempt


def training_states(bench: Bench) -> Attempt:
    """Training states whose checksum is right."""
    bench.bring("runs", "train.yml", "stills", "other_stills")
    state = bench.folder / "runs/tiny/training_states/1.state"
    refuse = mutate_torch(bench.rng, state)
    checksum = hashlib.sha256(state.read_bytes()).hexdigest()
    state.with_name("1.state.sha256").write_text(f"{checksum}  1.state\n")
    arguments = ["-opt", "train.yml", "--auto_resume", "--force_yml", "train:total_iter=2"]
    return Attempt("codes/train.py", arguments, refuse)


def unfinished_evaluations(bench: Bench) -> Attempt:
    """identity.json and records of frames, with --resume."""
    bench.bring("results", "clips", "small.safetensors", "test.yml")
    root = bench.folder / "results/r"
    identity = root / "identity.json"  # which names the folder of the data set
    identity.write_text(identity.read_text().replace(str(bench.samples), str(bench.folder)))
    files = sorted(root.rglob("*.json"))
    for file in bench.rng.sample(files, bench.rng.choice((1, 1, 2))):
        bench.damage(str(file.relative_to(bench.folder)), lambda data: mutate_json(bench.rng, data))
    return Attempt("codes/test_REDS4.py", [*EVALUATE, "--resume"])


def results_files(bench: Bench) -> Attempt:
    """results.json."""
    shutil.copyfile(bench.samples / "results/r/results.json", bench.folder / "results.json")
    bench.damage("results.json", lambda data: mutate_json(bench.rng, data))
    return Attempt("scripts/fuzzing/print_results.py", ["results.json"])
