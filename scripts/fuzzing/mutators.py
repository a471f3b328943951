"""Damage: to bytes, to values of YAML and JSON, to the parts of a file format. All of it drawn from one generator."""

import copy
import json
import os
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

NUMBERS = (
    0, 1, -1, 2, 3, 4, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400,
    0.0, -0.0, 0.5, 1e-9, 1e-320, 1.5, -1e-3, 1e30, 1e38, 1e39, 1e300, 1e308, -1e308,
)  # fmt: skip
"""None between 5 and 2^31: those may be large and still be what somebody wants, and take their time."""

TEXTS = (
    "", " ", "0", "1e-3", "x", "nan", "true", "../x", "/proc/x", ".", "a" * 300, "\0", "\x1b[31m", "é\u2028ü", "=1+1",
    "x\ny",
)  # fmt: skip

VALUES: tuple[Any, ...] = (*NUMBERS, *TEXTS, None, True, False, [], {}, [[]], [1], {"type": "x"}, {"": 0}, [None] * 9)

NOT_FINITE = (float("nan"), float("inf"), -float("inf"))

YAML_SCALARS = (
    ".nan", ".inf", "-.inf", "0x_", "0b", "0o8", "0x2", "1_0", "1:30", "1:30.5", "2026-01-01", "2026-13-45",
    "2026-01-01 10:00:00", "!!bool maybe", "!!int x", "!!float x", "!!timestamp x", "!!binary x", "!!binary =",
    "!!set {a, b}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!null x", "!x 1", "!!python/object/apply:os.system [true]",
    "&a [*a]", "&a {x: *a}", "*nowhere", "{? [a] : 1}", "{? {a: 1} : 1}", "{1: 2}", "{~: 1}", "{true: 1}",
    "{2026-01-01: 1}", "{a: 1, a: 2}", "{<<: {a: 1}}", "{<<: 1}", "<<", "=", "~", "'", '"', '"\\x"', '"\\ud800"',
    "[", "]", "{", "|", ">-", "%", "@", "`", "- a", "a: b: c", "yes", "on", "No", "1e5", "1e400", "-1e400", "1e-400",
    "+.5e+3", "9" * 5000, "0." + "1" * 5000, "1e" + "9" * 50, "[" * 200, "[" * 3000 + "]" * 3000,
    "{a: " * 500 + "1" + "}" * 500, "\t1", "#", "---", "...", "\u0085", "\ufeff", "\ud7ff", "\x00", "\x1b",
    "[&a0 [x, x], " + ", ".join(f"&a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(9)) + "]",
)  # fmt: skip

INTEGERS = (0, 1, 2, 3, 7, 8, 15, 16, 127, 128, 255, 256, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)


def mutate_bytes(rng: random.Random, data: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Damage a file without knowledge of its format; headers more often than what follows them.

    Args:
        rng: draws the damage.
        data: the file.
        others: files to splice with.
    """
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        size = len(changed)
        if not size:
            break
        at = rng.randrange(min(size, rng.choice((16, 64, 512, size, size))))
        length = min(rng.choice((1, 2, 4, 16, 256, 4096)), size - at)
        match rng.randrange(10):
            case 0 | 1:
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                changed[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 3 | 4:
                width, code = rng.choice(((1, "B"), (2, "H"), (4, "I")))
                value = rng.choice(INTEGERS) & (256**width - 1)
                changed[at : at + width] = struct.pack(rng.choice("<>") + code, value)[: size - at]
            case 5:
                del changed[at:]
            case 6:
                del changed[at : at + length]
            case 7:
                changed[at:at] = changed[at : at + length]
            case 8:
                changed[at : at + length] = rng.choice((bytes(length), rng.randbytes(length), b"\xff" * length))
            case 9 if others:
                other = rng.choice(others)
                changed[at:] = other[rng.choice((at, 0, rng.randrange(len(other) + 1))) :]
            case _:
                changed += rng.randbytes(length)
    return bytes(changed)


def _places(value: Any, path: tuple = ()) -> list[tuple]:
    """Paths of all nodes of a tree of mappings and sequences."""
    found = [path]
    if isinstance(value, dict):
        entries = list(value.items())
    else:
        entries = list(enumerate(value)) if isinstance(value, list) else []
    for key, entry in entries:
        found += _places(entry, (*path, key))
    return found


def mutate_tree(rng: random.Random, tree: Any, draw: Callable[[], Any]) -> Any:
    """Change one or a few nodes of a tree of mappings and sequences.

    Args:
        rng: draws the damage.
        tree: is left as it is.
        draw: draws a value to put in.
    """
    tree = copy.deepcopy(tree)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = _places(tree)
        path = rng.choice(places[1:]) if len(places) > 1 and rng.random() < 0.98 else ()
        if not path:
            return draw()
        parent = tree
        for step in path[:-1]:
            parent = parent[step]
        key = path[-1]
        match rng.randrange(8):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                name = key if isinstance(key, str) else "x"
                parent[rng.choice((name + "x", name[:-1], name.upper(), "x", "", " " + name, "type", "base"))] = parent[
                    key
                ]
            case 1:
                parent.insert(key, copy.deepcopy(parent[key]))
            case 2 if isinstance(parent[key], (int, float)):
                number = parent[key]
                with_care = (
                    -number,
                    number + 1,
                    number - 1,
                    float(number),
                    number / 3,
                    -number / 7,
                    str(number),
                    [number],
                )
                parent[key] = rng.choice(with_care)
            case 3:
                other = tree
                for step in rng.choice(places):
                    try:
                        other = other[step]
                    except (KeyError, IndexError, TypeError):
                        break
                parent[key] = copy.deepcopy(other)
            case _:
                parent[key] = draw()
    return tree


class _Raw(str):
    """What is put into a YAML file as it is."""


yaml.SafeDumper.add_representer(_Raw, lambda dumper, text: dumper.represent_str(f"RAW{text.encode().hex()}WAR"))


def draw_yaml(rng: random.Random) -> Any:
    """A value for a YAML file, often one that YAML has trouble with."""
    return _Raw(rng.choice(YAML_SCALARS)) if rng.random() < 0.5 else rng.choice(VALUES + NOT_FINITE)


def dump_raw_yaml(tree: Any) -> str:
    """YAML of a tree that may hold values of `draw_yaml`."""
    text = yaml.safe_dump(tree, sort_keys=False, width=10**6)
    parts = text.split("RAW")
    out = [parts[0]]
    for part in parts[1:]:
        code, _, rest = part.partition("WAR")
        out += [bytes.fromhex(code).decode(), rest]
    return "".join(out)


def mutate_yaml(rng: random.Random, tree: Any) -> bytes:
    """A YAML file of a damaged tree."""
    if rng.random() < 0.75:
        return dump_raw_yaml(mutate_tree(rng, tree, lambda: draw_yaml(rng))).encode(errors="surrogatepass")
    text = yaml.safe_dump(tree, sort_keys=False)
    match rng.randrange(6):
        case 0:
            lines = text.splitlines(keepends=True)
            line = rng.randrange(len(lines))
            lines.insert(rng.randrange(len(lines) + 1), lines[line])
            text = "".join(lines)
        case 1:
            text = text[: rng.randrange(len(text))]
        case 2:
            text = rng.choice(("%YAML 9.9\n---\n", "---\n---\n", "\ufeff", "# x\n\t", "? ")) + text
        case 3:
            return text.encode(rng.choice(("utf-16", "utf-32", "cp037")))
        case _:
            # No digits: 48 made 8848 may be what somebody wants.
            for _ in range(rng.choice((1, 2, 5))):
                at = rng.randrange(len(text))
                text = text[:at] + rng.choice("[]{}:,-&*!|>'\"%@`#? \t\n\0x~.\x1b") + text[at + rng.randrange(2) :]
    return text.encode()


def mutate_json(rng: random.Random, data: bytes) -> bytes:
    """A damaged JSON file."""
    if rng.random() < 0.25:
        return mutate_bytes(rng, data)
    tree = mutate_tree(rng, json.loads(data), lambda: rng.choice(VALUES + NOT_FINITE))
    text = json.dumps(tree)
    if rng.random() < 0.1:
        text = rng.choice(
            ("[" * 100_000, "\ufeff" + text, text * 2, '{"a":' * 5000, text.replace(":", ":" + "9" * 5000, 1))
        )
    return text.encode(errors="surrogatepass")


def replace_file(rng: random.Random, path: Path) -> None:
    """Put something else in the place of a file."""
    path.unlink(missing_ok=True)
    match rng.randrange(7):
        case 0:
            path.touch()
        case 1:
            path.mkdir()
        case 2:
            os.mkfifo(path)
        case 3:
            path.symlink_to("nowhere")
        case 4:
            path.symlink_to(path.name)
        case 5:
            path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "/dev/full", "/proc/self/mem", "/")))
        case 6:
            with path.open("wb") as file:
                file.truncate(rng.choice((1, 2**20, 2**40)))  # a sparse file
