"""What is fuzzed: for every kind of file, which sound input is damaged, how, and which program reads it."""

import hashlib
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb

from fuzzing.containers import mutate_hdf5, mutate_safetensors, mutate_torch
from fuzzing.mutators import (
    TEXTS,
    VALUES,
    draw_yaml,
    dump_raw_yaml,
    mutate_bytes,
    mutate_json,
    mutate_png,
    mutate_tiff,
    mutate_tree,
    mutate_yaml,
    replace_file,
)
from fuzzing.samples import CAMERA, CODECS, EVALUATION, FRAMES, TRAINING, write_yaml


@dataclass
class Attempt:
    """A command line on a damaged input.

    Attributes:
        program: script, from the repository's root.
        arguments: of its command line; paths are relative to the folder of the input.
        refuse: whether the program must not accept the input.
    """

    program: str
    arguments: list[str] = field(default_factory=list)
    refuse: bool = False


@dataclass
class Bench:
    """What a kind needs to make an input.

    Attributes:
        rng: draws everything.
        samples: folder of the sound inputs.
        folder: empty, for the input.
    """

    rng: random.Random
    samples: Path
    folder: Path

    def bring(self, *names: str) -> None:
        """Copy samples."""
        for name in names:
            source = self.samples / name
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, self.folder / name)

    def damage(self, name: str, mutate: Callable[[bytes], bytes]) -> None:
        """Damage a file by a function of its bytes, or put something else in its place."""
        path = self.folder / name
        if self.rng.random() < 0.02:
            replace_file(self.rng, path)
        else:
            path.write_bytes(mutate(path.read_bytes()))

    def others(self, name: str) -> list[bytes]:
        """Files of the same folder of the samples, to splice with."""
        return [path.read_bytes() for path in sorted((self.samples / name).parent.iterdir()) if path.is_file()]


Kind = Callable[[Bench], Attempt]

FILE_NAMES = (
    "-1.png", "1.PNG", " .png", ".png", "..png", "1.jpeg", "1.dng", "1.cr2", "camera.yml", "CAMERA.YML", "é.png",
    "\udcff.png", "new\nline.png", "\x1b[31m.png", "=1+1.png", "a" * 251 + ".png", "notes.txt", "Thumbs.db",
    "1_linear.png", "99999999999999999999.png",
)  # fmt: skip

_TILING = ["--patch", "16", "--halo", "4", "--search-window", "16"]
_NET = ["--checkpoint", "tiny.safetensors", "--device", "cpu"]
_EVALUATION = ["-opt", "test.yml", *_NET, "--results", "results", "--name", "r", "--workers", "0"]


def _restore(folder: str, *more: str) -> Attempt:
    return Attempt("codes/restore.py", ["--input", folder, "--output", "out", *_TILING, *_NET, *more])


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
    return Attempt("codes/train.py", ["-opt", "train.yml"])


def training_overrides(bench: Bench) -> Attempt:
    """--force_yml of a training."""
    bench.bring("stills", "other_stills", "train.yml")
    return Attempt("codes/train.py", ["-opt", "train.yml", "--force_yml", *_overrides(bench.rng, TRAINING)])


def evaluation_options(bench: Bench) -> Attempt:
    """The option file of an evaluation."""
    bench.bring("clips", "tiny.safetensors")
    (bench.folder / "test.yml").write_bytes(mutate_yaml(bench.rng, EVALUATION))
    return Attempt("codes/test_REDS4.py", [*_EVALUATION, "--limit", "1"])


def evaluation_overrides(bench: Bench) -> Attempt:
    """--force_yml of an evaluation."""
    bench.bring("clips", "tiny.safetensors", "test.yml")
    forced = _overrides(bench.rng, EVALUATION)
    return Attempt("codes/test_REDS4.py", [*_EVALUATION, "--limit", "1", "--force_yml", *forced])


def command_lines(bench: Bench) -> Attempt:
    """Arguments of restore.py and of the test scripts."""
    rng = bench.rng
    bench.bring("burst", "clips", "tiny.safetensors", "test.yml")
    attempt = rng.choice((_restore("burst"), _restore("clips/x", "--simulate", "low")))
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
        attempt = Attempt("codes/test_REDS4.py", [*_EVALUATION, "--limit", "1"])
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
    return attempt


def camera_file(bench: Bench) -> Attempt:
    """camera.yml beside mosaics."""
    bench.bring("burst", "tiny.safetensors")
    bench.damage("burst/camera.yml", lambda _: mutate_yaml(bench.rng, CAMERA))
    return _restore("burst")


def mosaics(bench: Bench) -> Attempt:
    """PNG and TIFF mosaics."""
    suffix = bench.rng.choice(("png", "tif"))
    folder = {"png": "burst", "tif": "burst_tif"}[suffix]
    bench.bring(folder, "tiny.safetensors")
    _damage_picture(bench, f"{folder}/{bench.rng.randrange(FRAMES)}.{suffix}", suffix)
    return _restore(folder)


def clips(bench: Bench) -> Attempt:
    """Clips of PNG, JPEG, TIFF, BMP and WebP."""
    suffix = bench.rng.choice(CODECS)
    bench.bring(f"clip_{suffix}", "tiny.safetensors")
    _damage_picture(bench, f"clip_{suffix}/{bench.rng.randrange(FRAMES)}.{suffix}", suffix)
    return _restore(f"clip_{suffix}", "--simulate", "high")


def _damage_picture(bench: Bench, name: str, suffix: str) -> None:
    by_format = {"png": mutate_png, "tif": mutate_tiff}.get(suffix)
    formats = [path for codec in CODECS for path in bench.others(f"clip_{codec}/x")]
    foreign = [
        *formats,
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        b"<svg/>",
        b"P6 9 9 255 " + bytes(243),
    ]

    def mutate(data: bytes) -> bytes:
        if bench.rng.random() < 0.1:
            return bench.rng.choice(foreign)
        if by_format and bench.rng.random() < 0.6:
            return by_format(bench.rng, data)
        return mutate_bytes(bench.rng, data, bench.others(name))

    bench.damage(name, mutate)


def raw_files(bench: Bench) -> Attempt:
    """DNGs."""
    bench.bring("dng", "tiny.safetensors")
    name = f"dng/{bench.rng.randrange(FRAMES)}.dng"
    others = bench.others(name)
    kinds = (mutate_tiff, mutate_tiff, lambda rng, data: mutate_bytes(rng, data, others))
    changed = bench.rng.choice(kinds)
    bench.damage(name, lambda data: changed(bench.rng, data))
    if bench.rng.random() < 0.3:  # in all files: they agree with each other
        data = (bench.folder / name).read_bytes() if (bench.folder / name).is_file() else b""
        for number in range(FRAMES):
            if data and (bench.folder / f"dng/{number}.dng").is_file():
                (bench.folder / f"dng/{number}.dng").write_bytes(data)
    return _restore("dng")


def matlab_files(bench: Bench) -> Attempt:
    """SC_burst's .mat files."""
    bench.bring("scenes", "tiny.safetensors")
    name = "scenes/Scene01/0002.mat"  # the middle one, of which everything is read
    refuse = False
    if bench.rng.random() < 0.6:
        refuse = mutate_hdf5(bench.rng, bench.folder / name, bench.samples / "secret.mat")
    else:
        bench.damage(name, lambda data: mutate_bytes(bench.rng, data, bench.others(name)))
    write_yaml(
        bench.folder / "test.yml",
        EVALUATION | {"dataset": {"type": "SCBurst"}, "data": "scenes", "noise": None, "paper": None},
    )
    return Attempt("codes/test_SC_burst.py", list(_EVALUATION), refuse)


def lmdb_stores(bench: Bench) -> Attempt:
    """LMDBs of this project."""
    name = bench.rng.choice(("store_none", "store_png"))
    bench.bring(name)
    if bench.rng.random() < 0.4:
        bench.damage(f"{name}/meta_info.json", lambda data: mutate_json(bench.rng, data))
    else:
        _damage_database(bench, name)
    if bench.rng.random() < 0.6:
        return Attempt("scripts/create_lmdb.py", ["--output", name, "--verify"])
    return _train_on(bench, name)


def lmdb_of_edvr(bench: Bench) -> Attempt:
    """LMDBs of EDVR with their pickled meta_info."""
    bench.bring("edvr")
    if bench.rng.random() < 0.6:
        import pickle

        def mutate(data: bytes) -> bytes:
            if bench.rng.random() < 0.5:
                return mutate_bytes(bench.rng, data, [b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x8e" + b"\xff" * 6])
            tree = mutate_tree(bench.rng, pickle.loads(data), lambda: bench.rng.choice(VALUES))
            return pickle.dumps(tree, protocol=bench.rng.choice((0, 2, 4)))

        bench.damage("edvr/meta_info.pkl", mutate)
    else:
        _damage_database(bench, "edvr")
    return _train_on(bench, "edvr")


def lmdb_of_basicsr(bench: Bench) -> Attempt:
    """LMDBs of BasicSR with their meta_info.txt."""
    bench.bring("basicsr")
    if bench.rng.random() < 0.6:

        def mutate(data: bytes) -> bytes:
            lines = data.decode().splitlines()
            at = bench.rng.randrange(len(lines))
            new = (
                lines[at] + "x",
                "",
                lines[0],
                lines[at].replace("(", "(9"),
                lines[at].replace("3", str(bench.rng.choice(VALUES))),
            )
            lines[at] = bench.rng.choice(new)
            return "\n".join(lines).encode() if bench.rng.random() < 0.7 else mutate_bytes(bench.rng, data)

        bench.damage("basicsr/meta_info.txt", mutate)
    else:
        _damage_database(bench, "basicsr")
    return _train_on(bench, "basicsr")


def _damage_database(bench: Bench, name: str) -> None:
    if bench.rng.random() < 0.5:
        bench.damage(f"{name}/data.mdb", lambda data: mutate_bytes(bench.rng, data, [data[4096:]]))
        return
    folder = str(bench.folder / name)
    with lmdb.open(folder, map_size=2**24, lock=False) as environment, environment.begin(write=True) as transaction:
        keys = [bytes(key) for key in transaction.cursor().iternext(values=False)]
        for _ in range(bench.rng.choice((1, 2))):
            key = bench.rng.choice(keys)
            value = transaction.get(key) or b""
            match bench.rng.randrange(4):
                case 0:
                    transaction.delete(key)
                case 1:
                    transaction.put(bench.rng.choice((key + b"x", b"\xff", b"000_00000009", key[:-1] + b"9")), value)
                case 2:
                    transaction.put(
                        key, bench.rng.choice((b"", value[:-1], value + b"x", value * 2, b"\x89PNG\r\n\x1a\n"))
                    )
                case 3:
                    transaction.put(key, mutate_bytes(bench.rng, value))


def _train_on(bench: Bench, name: str) -> Attempt:
    bench.bring("train_on_clips.yml")
    sources = [f"datasets:{part}:source={name}" for part in ("train", "val")]
    return Attempt("codes/train.py", ["-opt", "train_on_clips.yml", "--force_yml", *sources])


def safetensors_files(bench: Bench) -> Attempt:
    """Weights as safetensors."""
    bench.bring("burst", "tiny.safetensors")
    refuse = []

    def mutate(data: bytes) -> bytes:
        changed, bad = mutate_safetensors(bench.rng, data)
        refuse.append(bad)
        return changed

    bench.damage("tiny.safetensors", mutate)
    attempt = _restore("burst")
    attempt.refuse = any(refuse)
    return attempt


def torch_files(bench: Bench) -> Attempt:
    """Weights as .pth."""
    bench.bring("burst", "tiny.pth")
    refuse = mutate_torch(bench.rng, bench.folder / "tiny.pth")
    attempt = _restore("burst")
    attempt.arguments = [text.replace(".safetensors", ".pth") for text in attempt.arguments]
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
    bench.bring("results", "clips", "tiny.safetensors", "test.yml")
    root = bench.folder / "results/r"
    identity = root / "identity.json"  # which names the folder of the data set
    identity.write_text(identity.read_text().replace(str(bench.samples), str(bench.folder)))
    files = sorted(root.rglob("*.json"))
    for file in bench.rng.sample(files, bench.rng.choice((1, 1, 2))):
        bench.damage(str(file.relative_to(bench.folder)), lambda data: mutate_json(bench.rng, data))
    return Attempt("codes/test_REDS4.py", [*_EVALUATION, "--resume"])


def results_files(bench: Bench) -> Attempt:
    """results.json."""
    (bench.folder / "results").mkdir()
    shutil.copyfile(bench.samples / "results/r/results.json", bench.folder / "results.json")
    bench.damage("results.json", lambda data: mutate_json(bench.rng, data))
    return Attempt("scripts/fuzzing/print_results.py", ["results.json"])


def folders(bench: Bench) -> Attempt:
    """Folders with other names, and with more than frames in them."""
    rng = bench.rng
    name = rng.choice(("burst", "dng", "clip_png", "clips/x"))
    bench.bring(name.split("/")[0], "tiny.safetensors", "test.yml")
    root = bench.folder / name
    for _ in range(rng.choice((1, 1, 2, 4))):
        path = rng.choice(sorted(root.iterdir()))
        new = root / rng.choice(
            (*FILE_NAMES, f"{path.stem}x{path.suffix}", path.name.upper(), f"{path.name}.png", f"00{path.name}")
        )
        match rng.randrange(5):
            case 0 if path.is_file():
                path.rename(new)
            case 1 if path.is_file() and not new.exists():
                shutil.copyfile(path, new)
            case 2 if not new.is_dir():
                replace_file(rng, new)
            case 3:
                replace_file(rng, path) if not path.is_dir() else None
            case _:
                shutil.copytree(bench.samples / "burst", root / "more", dirs_exist_ok=True)
    if name == "clips/x":
        return Attempt("codes/test_REDS4.py", [*_EVALUATION, "--limit", "1"])
    return _restore(name, *(["--simulate", "low"] if name == "clip_png" else []), *rng.choice(([], ["--sliding"])))


def resumed_training(bench: Bench) -> Attempt:
    """A training that goes on with other options."""
    bench.bring("runs", "train.yml", "stills", "other_stills")
    forced = [text for text in _overrides(bench.rng, TRAINING) if not text.startswith("name")]
    return Attempt(
        "codes/train.py", ["-opt", "train.yml", "--auto_resume", "--force_yml", "train:total_iter=2", *forced]
    )


SHARES: dict[Kind, int] = {
    training_options: 8,
    training_overrides: 5,
    evaluation_options: 6,
    evaluation_overrides: 3,
    command_lines: 5,
    camera_file: 12,
    mosaics: 12,
    clips: 14,
    raw_files: 12,
    matlab_files: 6,
    lmdb_stores: 8,
    lmdb_of_edvr: 4,
    lmdb_of_basicsr: 4,
    safetensors_files: 8,
    torch_files: 6,
    training_states: 5,
    resumed_training: 2,
    unfinished_evaluations: 4,
    results_files: 4,
    folders: 6,
}
"""How often each kind comes up, relative to the others."""

KINDS = {kind.__name__: kind for kind in SHARES}

PREPARATION = (
    Attempt("codes/train.py", ["-opt", "train.yml"]),
    Attempt("codes/test_REDS4.py", list(_EVALUATION)),
    _restore("burst"),
    _restore("dng"),
    _restore("clip_webp", "--simulate", "high"),
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
