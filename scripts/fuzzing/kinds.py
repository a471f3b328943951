"""What is fuzzed: all kinds of input, and how often each comes up."""

from collections.abc import Callable

from fuzzing.bench import EVALUATE, Attempt, Bench, restore
from fuzzing.kinds_of_frames import camera_file, clips, folders, matlab_files, mosaics, raw_files
from fuzzing.kinds_of_options import (
    command_lines,
    evaluation_options,
    evaluation_overrides,
    resumed_training,
    training_options,
    training_overrides,
)
from fuzzing.kinds_of_results import (
    results_files,
    safetensors_files,
    torch_files,
    training_states,
    unfinished_evaluations,
)
from fuzzing.kinds_of_stores import lmdb_of_basicsr, lmdb_of_edvr, lmdb_stores

Kind = Callable[[Bench], Attempt]

SHARES: dict[Kind, int] = {
    training_options: 12,
    training_overrides: 7,
    evaluation_options: 8,
    evaluation_overrides: 5,
    command_lines: 6,
    camera_file: 14,
    mosaics: 12,
    clips: 12,
    raw_files: 12,
    matlab_files: 5,
    lmdb_stores: 7,
    lmdb_of_edvr: 4,
    lmdb_of_basicsr: 4,
    safetensors_files: 8,
    torch_files: 6,
    training_states: 2,
    resumed_training: 2,
    unfinished_evaluations: 1,
    results_files: 4,
    folders: 5,
}
"""How often each kind comes up, relative to the others: those that take long less often."""

KINDS = {kind.__name__: kind for kind in SHARES}

PREPARATION = (
    Attempt("codes/train.py", ["-opt", "train.yml"]),
    Attempt("codes/test_REDS4.py", list(EVALUATE)),
    restore("burst"),
    restore("burst_tif", checkpoint="tiny.safetensors"),
    restore("burst", checkpoint="tiny.pth"),
    restore("dng"),
    restore("clip_webp", "--simulate", "high"),
    Attempt("scripts/create_lmdb.py", ["--output", "store_none", "--verify"]),
    Attempt(
        "codes/train.py",
        [
            "-opt",
            "train_on_clips.yml",
            "--force_yml",
            "path:experiments_root=rest",
            "name=clips",
            "datasets:train:source=edvr",
            "datasets:val:source=edvr",
        ],
    ),
)
"""Runs on sound samples. They write the samples that only programs write, and show what the programs import."""
