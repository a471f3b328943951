"""Kinds of input: LMDBs."""

import lmdb

from fuzzing.bench import Attempt, Bench
from fuzzing.mutators import (
    VALUES,
    mutate_bytes,
    mutate_json,
    mutate_tree,
)


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
